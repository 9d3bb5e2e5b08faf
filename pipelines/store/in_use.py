"""Marks of those who write a folder: `<folder>/in_use/<host>-<pid>-<token>.json`, so that `gc` leaves it alone.

Any number of processes may write one folder. A mark is renewed from a thread; that of a process that died expires.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from aunet.errors import InputError, Unavailable
from pipelines.store import storage
from pipelines.store.holding import Clock, Holding, renewed
from pipelines.store.storage import join

SECONDS = 600.0
"""After which the mark of a process that died no longer counts."""


@dataclass
class Mark:
    """The mark of this process."""

    uri: str
    record: Holding
    seconds: float
    now: Clock

    def renew(self) -> None:
        """Write it with a later expiry."""
        self.record = replace(self.record, expires=self.now() + self.seconds)
        storage.write_bytes(self.uri, self.record.to_bytes())


@contextlib.contextmanager
def in_use(marks_uri: str, *, seconds: float = SECONDS, now: Clock = time.time) -> Iterator[None]:
    """Mark a folder as being written while the block runs.

    Args:
        marks_uri: the folder's `in_use_uri`.
    """
    record = Holding.begin(seconds, now())
    name = re.sub(r"[^A-Za-z0-9._-]", "-", f"{record.holder}-{record.token[:8]}")
    mark = Mark(join(marks_uri, f"{name[-100:]}.json"), record, seconds, now)
    for uri, other in _marks(marks_uri):
        if not other.counts(now()):
            storage.delete(uri)
    mark.renew()
    try:
        with renewed(mark):
            yield
    finally:
        with contextlib.suppress(OSError, Unavailable):  # it expires by itself
            storage.delete(mark.uri)


def writers(marks_uri: str, *, now: Clock = time.time) -> list[Holding]:
    """Who is writing a folder.

    Raises:
        InputError: a mark is damaged.
    """
    return [holding for _, holding in _marks(marks_uri) if holding.counts(now())]


def _marks(marks_uri: str) -> Iterator[tuple[str, Holding]]:
    """URI and content of every mark."""
    files = storage.list_files(marks_uri, follow_links=False) if storage.exists(marks_uri) else []
    for file in files:
        uri = join(marks_uri, file.path)
        try:
            data = storage.read_bytes(uri)
        except InputError:  # removed since it was listed
            continue
        yield uri, Holding.from_bytes(data, uri)
