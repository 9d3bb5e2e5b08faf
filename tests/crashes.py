"""A process that dies at a chosen one of its operations on files, without dying: what it does afterwards has no effect.

Replaced are the functions of the operating system that change a folder, and what is written through `open`: of the
write at which the process dies, half arrives. Only paths below one of the given folders count.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

CHANGES = ("replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir", "fsync")


class Killed(BaseException):
    """The process died here."""


class Crash:
    """Counts operations, and dies at one of them.

    Args:
        at: number of the operation, from 1; 0: never.
        roots: folders whose files count.
        after: die after the operation, not before it.
    """

    def __init__(self, at: int, *roots: Path, after: bool = False) -> None:
        self.at, self.after = at, after
        self.roots = tuple(os.fspath(root) for root in roots)
        self.count = 0
        self.fired = threading.Event()
        self.where = ""
        """At which operation it died, and on what."""
        self._lock = threading.Lock()
        self._descriptors: set[int] = set()

    def check(self) -> None:
        """Die, if the process has."""
        if self.fired.is_set():
            raise Killed

    def step(self, name: str, do: Callable[[], Any], half: Callable[[], object] | None = None) -> Any:
        """Do one operation, or die at it."""
        with self._lock:
            self.check()
            self.count += 1
            if self.count != self.at:
                return do()
            self.fired.set()
            self.where = name
            if half is not None:
                half()
            elif self.after:
                do()
        raise Killed

    def counts(self, target: Any) -> bool:
        """Whether an operation's first argument is below one of the folders."""
        if isinstance(target, int):
            return target in self._descriptors
        return isinstance(target, str | Path) and os.fspath(target).startswith(self.roots)

    @contextlib.contextmanager
    def armed(self) -> Iterator[Crash]:
        """The functions are replaced while the block runs."""
        with contextlib.ExitStack() as stack:
            for name in CHANGES:
                stack.enter_context(mock.patch.object(os, name, self._wrapped(getattr(os, name))))
            stack.enter_context(mock.patch.object(builtins, "open", self._open))
            yield self

    def _wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *rest: Any, **options: Any) -> Any:
            folder = options.get("dir_fd")
            named = target if folder is None else os.path.join(os.readlink(f"/proc/self/fd/{folder}"), target)
            if not self.counts(named):
                return function(target, *rest, **options)
            return self.step(function.__name__, lambda: function(target, *rest, **options))

        return call

    def _open(self, file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if not self.counts(file) or not set(mode) & set("wxa"):
            return _REAL_OPEN(file, mode, *rest, **options)
        opened = self.step("open", lambda: _REAL_OPEN(file, mode, *rest, **options))
        self._descriptors.add(opened.fileno())
        return _Written(opened, self)


_REAL_OPEN = builtins.open


class _Written:
    """A file whose writes are counted."""

    def __init__(self, file: Any, crash: Crash) -> None:
        self._file, self._crash = file, crash

    def write(self, data: Any) -> Any:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        return self._crash.step("write", lambda: self._file.write(data), half)

    def close(self) -> None:
        self._crash._descriptors.discard(self._file.fileno() if not self._file.closed else -1)
        self._file.close()

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
