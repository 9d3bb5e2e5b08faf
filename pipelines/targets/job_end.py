"""How a job of a cluster ended, and its logs, as the store holds them when the cluster is gone."""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from aunet.config_json import from_json
from aunet.errors import InputError, Unavailable
from pipelines.store import storage
from pipelines.store.layout import Store
from pipelines.store.stored_json import read_stored
from pipelines.targets.submission import State

PERMANENT = (2, 3)
"""Exit codes that trying again does not mend: wrong input, and a refusal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEnd:
    """How a job ended, that is the last of its tries."""

    when: str
    """ISO 8601, UTC."""
    exit_code: int
    lines: tuple[str, ...]
    """The last ones that it wrote to stderr."""

    @property
    def message(self) -> str:
        """Why, in one line."""
        causes = [line for line in self.lines if line.startswith(("error: ", "refused: "))]
        return "; ".join(causes or self.lines[-1:])[:600]


def read_end(id: str, since: str) -> JobEnd | None:
    """How the job of this id ended for good, with one of `PERMANENT`; None: it did not, or the store does not answer.

    Args:
        since: ISO 8601, UTC: when the job was created; what an earlier one of the same id has left does not count.
    """
    end = last_end(id)
    if end is None or end.exit_code not in PERMANENT:
        return None
    return end if end.when.replace("+00:00", "Z") >= since.replace("+00:00", "Z") else None


def last_end(id: str) -> JobEnd | None:
    """How the last try of the job of this id ended; None: it never did by itself, or the store does not answer."""
    uri = Store.here().job_end_uri(id)
    with contextlib.suppress(InputError, Unavailable, OSError):
        if storage.exists(uri):
            return from_json(JobEnd, read_stored(uri, "submit the job again"), uri)
    return None


def last_state(id: str) -> State | None:
    """As `last_end`, for a job that its target does not know any more."""
    if (end := last_end(id)) is None:
        return None
    is_good = end.exit_code == 0
    message = f"ended at {end.when}" + ("" if is_good else f": {end.message}")
    return State("SUCCEEDED" if is_good else "FAILED", message, end.exit_code)


def write_end(id: str, end: JobEnd) -> None:
    """Leave it in this process's store."""
    storage.write_bytes(Store.here().job_end_uri(id), json.dumps(asdict(end)).encode())


def forget_end(id: str) -> None:
    """Delete the end of an earlier job of this id, if the store answers.

    Its logs stay until there are others: where one try after the other is lost, they are all that there is.
    """
    with contextlib.suppress(InputError, Unavailable, OSError):
        storage.delete(Store.here().job_end_uri(id))


def write_logs(id: str, logs: Mapping[str, bytes]) -> str:
    """Leave logs in this process's store, compressed, in place of those of an earlier try; returns their folder."""
    uri = Store.here().job_logs_uri(id)
    storage.delete(uri)
    for name, content in logs.items():
        storage.write_bytes(storage.join(uri, f"{name}.gz"), gzip.compress(content, mtime=0))
    return uri


def read_logs(id: str) -> str:
    """The logs that a job of this id has left in this process's store, each below its name; "": there are none.

    Raises:
        InputError: one is damaged.
        Unavailable: the store does not answer.
    """
    uri = Store.here().job_logs_uri(id)
    files = storage.list_files(uri) if storage.exists(uri) else []
    return "".join(f"== {file.path.removesuffix('.gz')}\n{_unpacked(storage.join(uri, file.path))}\n" for file in files)


def _unpacked(uri: str) -> str:
    try:
        return gzip.decompress(storage.read_bytes(uri)).decode(errors="replace").rstrip("\n")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{uri}: a damaged log ({error}); delete the file") from None
