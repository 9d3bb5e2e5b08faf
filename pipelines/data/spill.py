"""Mappings and lists that may be larger than the memory: their values are in a temporary file."""

from __future__ import annotations

import errno
import pickle
import sqlite3
from collections.abc import Collection, ItemsView, Iterator, MutableMapping, ValuesView
from typing import Any, Generic, TypeVar

V = TypeVar("V")

CACHE_KB = 2048
"""Memory of each; what is beyond it is in a file that SQLite removes by itself."""
CHUNK = 64
"""Values of a list that are written and read together."""


class Spilled(MutableMapping[Any, V], Generic[V]):
    """A dict of whole numbers and texts whose values are pickled into a temporary file; keys keep their order.

    A value that was got is a copy: what is changed in it has to be set again. Belongs to the thread that made it.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # "": a file without a name
        for statement in (
            f"PRAGMA cache_size = -{CACHE_KB}",
            "PRAGMA journal_mode = OFF",
            "CREATE TABLE item (position INTEGER PRIMARY KEY, key UNIQUE, value BLOB)",  # no type: 1 is not '1'
            "BEGIN",
        ):
            self._execute(statement)

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise OSError(errno.ENOSPC, f"a temporary file cannot be written or read ({error})") from None

    def __getitem__(self, key: Any) -> V:
        row = self._execute("SELECT value FROM item WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return pickle.loads(row[0])

    def __contains__(self, key: object) -> bool:
        return self._execute("SELECT 1 FROM item WHERE key = ?", (key,)).fetchone() is not None

    def __setitem__(self, key: Any, value: V) -> None:
        change = "INSERT INTO item (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        self._execute(change, (key, pickle.dumps(value, protocol=5)))

    def __delitem__(self, key: Any) -> None:
        if not self._execute("DELETE FROM item WHERE key = ?", (key,)).rowcount:
            raise KeyError(key)

    def __iter__(self) -> Iterator[Any]:
        return (key for (key,) in self._execute("SELECT key FROM item ORDER BY position"))

    def __len__(self) -> int:
        return self._execute("SELECT COUNT(*) FROM item").fetchone()[0]

    def pairs(self) -> Iterator[tuple[Any, V]]:
        """Keys and values, read in one go. What is set meanwhile may come or not."""
        rows = self._execute("SELECT key, value FROM item ORDER BY position")
        return ((key, pickle.loads(value)) for key, value in rows)

    # The rest would follow from the above, with two statements for each key instead of one.

    def items(self) -> ItemsView[Any, V]:
        return _Items(self)

    def values(self) -> ValuesView[V]:
        return _Values(self)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        change = "INSERT INTO item (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
        is_new = self._execute(change, (key, pickle.dumps(default, protocol=5))).rowcount
        return default if is_new else self[key]


class _Items(ItemsView[Any, V]):
    _mapping: Spilled[V]

    def __iter__(self) -> Iterator[tuple[Any, V]]:
        return self._mapping.pairs()


class _Values(ValuesView[V]):
    _mapping: Spilled[V]

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping.pairs())


class SpilledList(Collection[V]):
    """A list that grows at its end and is read from its start, pickled into a temporary file, `CHUNK` values at a time.

    What is read may be the value itself or a copy.
    """

    def __init__(self) -> None:
        self._chunks: Spilled[list[V]] = Spilled()
        self._last: list[V] = []
        self._length = 0

    def append(self, value: V) -> None:
        """Add a value at the end."""
        self._last.append(value)
        self._length += 1
        if len(self._last) == CHUNK:
            self._chunks[self._length] = self._last
            self._last = []

    def __contains__(self, value: object) -> bool:
        return any(stored == value for stored in self)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[V]:
        for chunk in self._chunks.values():
            yield from chunk
        yield from self._last
