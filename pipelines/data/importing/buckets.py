"""Images and their annotations brought together, whatever their order in JSON files of any size."""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

BUCKET_BYTES = 4 << 20
MAX_BUCKETS = 256
"""Files that are open at a time."""


class Buckets:
    """Records in temporary files, by a hash of their key: those of one key are in one file, in their order.

    Args:
        num_bytes: about so many will be written; a file of `BUCKET_BYTES` is read at once.
    """

    def __init__(self, num_bytes: int) -> None:
        self.number = min(max(num_bytes // BUCKET_BYTES + 1, 1), MAX_BUCKETS)
        self.folder = tempfile.TemporaryDirectory()

    def fill(self, records: Iterable[tuple[Any, Any]]) -> None:
        """Write (key, record) pairs, as plain JSON."""
        with ExitStack() as stack:
            files = [stack.enter_context(open(self._path(n), "a", encoding="utf-8")) for n in range(self.number)]
            for key, record in records:
                number = zlib.crc32(repr(key).encode(errors="replace")) % self.number
                files[number].write(json.dumps([key, record]) + "\n")

    def groups(self) -> Iterator[tuple[Any, list[Any]]]:
        """(key, its records in order), file by file; keys in the order in which they came first."""
        for number in range(self.number):
            by_key: dict[Any, list[Any]] = {}
            if self._path(number).exists():
                with open(self._path(number), encoding="utf-8") as file:
                    for line in file:
                        key, record = json.loads(line)
                        by_key.setdefault(key, []).append(record)
            yield from by_key.items()

    def _path(self, number: int) -> Path:
        return Path(self.folder.name, f"{number}.jsonl")
