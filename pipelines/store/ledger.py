"""The ledger of a registered model: which model became its champion, in order, by whom and why.

`<uri>/000001.json`, `000002.json`, …: the newest is the champion. An entry is created exclusively, under the number
after the head that its decision was made against: of several who decide at one moment one succeeds, and the others
decide again, against the new head. Entries are never rewritten: each holds the SHA-256 of the one before.

A store whose exclusive creation is not atomic (Swift) may replace an entry by another's within seconds:
`create_exclusive` waits before it says who won, and `read_settled` before it shows an entry that may still be replaced.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Any, Literal

from aunet.config_json import from_json
from aunet.documents import read_object
from aunet.errors import InputError, Refused, check
from aunet.names import printable
from aunet.ranges import AtLeastOne, Range, check_ranges
from pipelines.store import storage
from pipelines.store.stored_folder import Folder
from pipelines.store.stored_json import stored_object

CURE = "restore it; or, where it is the newest, delete it and run `ledger --reconcile`"
MAX_TRIES = 32
"""How often a decision is made again because others were faster."""
_FILE = re.compile(r"([0-9]{6}|[1-9][0-9]{6,11})\.json")
_SHA256 = re.compile("[0-9a-f]{64}")
_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""What Ray tells a submitted job of itself."""


class Overtaken(Refused):
    """Somebody else has added an entry since the head was read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerEntry:
    """One change of the champion."""

    action: Literal["adopt", "promote", "force", "rollback"]
    """adopt: it held the alias before there was a ledger; force: against the gate."""
    model_uri: str
    model_sha256: str
    """Of the model's folder, as `hashes.digest` computes it."""
    version: AtLeastOne
    """Number in the model registry when the entry was written."""
    why: str
    run_id: str = ""
    """Name of the run's folder."""
    mlflow_run_id: str = ""
    report_uri: str = ""
    """What the gate read of the model; empty: nothing."""
    val_fingerprint: str = ""
    """The frozen set: the validation data that both models were measured on."""
    data_fingerprint: str = ""
    """The manifest of the data that it was trained on."""
    code_version: str = ""
    """Of its training."""
    verdict: str = ""
    """PROMOTE, HOLD or UNDECIDED, by the gate; empty: it was not asked."""
    figures: dict[str, float] = field(default_factory=dict)
    """Metrics of the model on the frozen set, in per cent."""
    gate: dict[str, Any] = field(default_factory=dict)
    """All that the gate found."""
    target: AtLeastOne | None = None
    """Of a rollback: number of the entry whose model is champion again."""
    who: str = field(default_factory=lambda: author())
    when: str = field(default_factory=lambda: now())
    number: Annotated[int, Range(at_least=0, below=10**12)] = 0
    """0: not written yet."""
    previous: AtLeastOne | None = None
    """Number of the entry that was the head; None: this is the first."""
    previous_sha256: str = ""
    """Of that entry's file."""
    sha256: str = ""
    """Of this entry's file; not in it."""

    def __post_init__(self) -> None:
        check_ranges(self, "entry")
        check(bool(_SHA256.fullmatch(self.model_sha256)), "entry.model_sha256", self.model_sha256, "use 64 hex digits")

    @classmethod
    def from_bytes(cls, data: bytes, source_name: str) -> LedgerEntry:
        """The entry in a file; fields of later versions are ignored.

        Raises:
            InputError: there is none in it.
        """
        own = {f.name for f in fields(cls)} - {"sha256"}
        plain = {name: value for name, value in stored_object(data, source_name, CURE).items() if name in own}
        try:
            entry: LedgerEntry = from_json(cls, plain, "entry")
        except InputError as error:
            raise InputError(f"{source_name}: {problem}; {CURE}" for problem in error.problems) from None
        return replace(entry, sha256=hashlib.sha256(data).hexdigest())

    def to_json(self) -> dict[str, Any]:
        """The fields that are written, by name."""
        return {name: value for name, value in asdict(self).items() if name != "sha256"}

    def to_bytes(self) -> bytes:
        """As JSON."""
        return (json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n").encode()


class Ledger(Folder):
    """The ledger in a folder."""

    def head(self) -> LedgerEntry | None:
        """The newest entry, which nobody can replace any more; None: there is none yet.

        Raises:
            InputError: it is damaged.
        """
        number = max(self._numbers(), default=0)
        while storage.exists(self._file(number + 1)):  # a listing may lag behind
            number += 1
        return self.entry(number) if number else None

    def entry(self, number: int) -> LedgerEntry:
        """One entry.

        Raises:
            InputError: there is none, or it is damaged.
        """
        uri = self._file(number)
        entry = LedgerEntry.from_bytes(storage.read_settled(uri), uri)
        if entry.number != number:
            raise InputError(f"{uri}: its number is {entry.number}, so it is another entry's; {CURE}")
        return entry

    def entries(self) -> list[LedgerEntry]:
        """All entries, oldest first, each checked against the one after it.

        Raises:
            InputError: one is missing, damaged, or not the one that the next followed.
        """
        head = self.head()
        if head is None:
            return []
        with ThreadPoolExecutor(storage.TRANSFERS) as pool:
            entries = [*pool.map(self.entry, range(1, head.number)), head]
        problems = [
            f"{self._file(earlier.number)}: not what entry {later.number} followed: one was rewritten; {CURE}"
            for earlier, later in pairwise(entries)
            if (later.previous, later.previous_sha256) != (earlier.number, earlier.sha256)
        ]
        if problems:
            raise InputError(problems)
        return entries

    def append(self, entry: LedgerEntry, expected_head: LedgerEntry | None) -> LedgerEntry:
        """Write an entry after the head that its decision was made against; returns it with its number.

        Raises:
            Overtaken: that is not the head any more; nothing was written.
        """
        number, sha256 = (expected_head.number, expected_head.sha256) if expected_head else (0, "")
        entry = replace(entry, number=number + 1, previous=number or None, previous_sha256=sha256)
        data = entry.to_bytes()
        if not storage.create_exclusive(self._file(entry.number), data):
            raise Overtaken(
                f"{self.uri}: entry {entry.number} was written by another in the meantime; run the same again"
            )
        return replace(entry, sha256=hashlib.sha256(data).hexdigest())

    def advance(self, decide: Callable[[LedgerEntry | None], LedgerEntry | None]) -> LedgerEntry | None:
        """Append what `decide` makes of the head, asking again with the new head wherever somebody was faster.

        Args:
            decide: the next entry; None: the head stays.

        Raises:
            Overtaken: somebody was faster `MAX_TRIES` times.
        """
        for last in reversed(range(MAX_TRIES)):
            head = self.head()
            entry = decide(head)
            if entry is None:
                return None
            try:
                return self.append(entry, head)
            except Overtaken:
                if not last:
                    raise
        raise AssertionError("not reached")

    def _numbers(self) -> Iterator[int]:
        if not storage.exists(self.uri):
            return
        for file in storage.list_files(self.uri):
            if match := _FILE.fullmatch(file.path):
                yield int(match[1])

    def _file(self, number: int) -> str:
        return storage.join(self.uri, f"{number:06d}.json")


def rolled_back(entries: list[LedgerEntry]) -> dict[str, LedgerEntry]:
    """Hash of every model that a rollback has left and nobody has promoted since → that rollback."""
    left: dict[str, LedgerEntry] = {}
    for earlier, later in pairwise(entries):
        left.pop(later.model_sha256, None)
        if later.action == "rollback":
            left[earlier.model_sha256] = later
    return left


def now() -> str:
    """This moment, as entries write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def author() -> str:
    """Who writes: user@host, on Kubernetes with the name of the pod, and the id of the Ray job if it is one."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = str(os.getuid())
    job = ""
    if _JOB in os.environ:
        try:
            metadata = read_object(os.environ[_JOB], _JOB).get("metadata")
            job = str(metadata.get("job_submission_id", "")) if isinstance(metadata, dict) else ""
        except InputError:
            job = ""
    return printable(f"{user}@{socket.gethostname()}{f', job {job}' if job else ''}")
