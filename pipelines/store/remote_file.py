"""Random access to an object of a server, by spans."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

TAIL = 64 * 1024
"""Bytes that are fetched first: the end, where Parquet has its table of contents."""


class RemoteFile(io.RawIOBase):
    """Random access to an object that does not change; only the spans that are read are fetched.

    Args:
        get: bytes and headers of a span such as `bytes=0-9`; raises `EOFError` for one that begins after the end.

    Raises:
        FileNotFoundError: there is none.
    """

    def __init__(self, get: Callable[[str], tuple[bytes, dict[str, Any]]]) -> None:
        self._get, self._position = get, 0
        try:
            self._tail, answer = get(f"bytes=-{TAIL}")
            self._size = int(answer["ContentRange"].rpartition("/")[2]) if self._tail else 0
        except EOFError:
            self._tail, self._size = b"", 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """The next `size` bytes, fewer only at the end; negative: all that are left."""
        first, last = self._position, self._size
        if size is not None and size >= 0:
            last = min(last, first + size)
        if first >= last:
            return b""
        self._position, kept = last, self._size - len(self._tail)
        if first >= kept:
            return self._tail[first - kept : last - kept]
        return self._get(f"bytes={first}-{last - 1}")[0]
