"""How a job of a cluster ended that is not to be started again, as the store holds it."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from aunet.config_json import from_json
from aunet.errors import InputError, Unavailable
from pipelines.store import storage
from pipelines.store.layout import Store
from pipelines.store.stored_json import read_stored


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEnd:
    """How a job ended that is not to be started again."""

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
    """How the job of this id ended for good; None: it did not, or the store does not answer.

    Args:
        since: ISO 8601, UTC: when the job was created; what an earlier one of the same id has left does not count.
    """
    uri = Store.here().job_end_uri(id)
    with contextlib.suppress(InputError, Unavailable, OSError):
        if storage.exists(uri):
            end = from_json(JobEnd, read_stored(uri, "submit the job again"), uri)
            return end if end.when.replace("+00:00", "Z") >= since.replace("+00:00", "Z") else None
    return None


def write_end(id: str, end: JobEnd) -> None:
    """Leave it in this process's store."""
    storage.write_bytes(Store.here().job_end_uri(id), json.dumps(asdict(end)).encode())


def write_logs(id: str, logs: Mapping[str, bytes]) -> str:
    """Leave logs in this process's store, compressed, in place of those of an earlier try; returns their folder."""
    uri = Store.here().job_logs_uri(id)
    storage.delete(uri)
    for name, content in logs.items():
        storage.write_bytes(storage.join(uri, f"{name}.gz"), gzip.compress(content, mtime=0))
    return uri
