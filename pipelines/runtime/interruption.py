"""How a run is ended from outside: the signals of people and schedulers, and the exceptions that follow."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from aunet.errors import Unavailable

RESUME = 75
"""Exit code of a command that was told to end and saved what it had, EX_TEMPFAIL of sysexits.h: run it again."""


class Stopped(RuntimeError):
    """A run was ended early by whoever watched it; its checkpoints are kept."""


class Preempted(RuntimeError):
    """The process was told to end and saved what it had: the same command continues."""


class NotSaved(Unavailable):
    """The last steps of a run are lost, because the store did not accept them."""


class Signals:
    """Which signal has come; empty: none."""

    name = ""

    def check(self, what: str) -> None:
        """For whoever waits, between two looks.

        Raises:
            KeyboardInterrupt: SIGINT has come.
            Preempted: SIGTERM has; its message is `what`.
        """
        if self.name:
            raise KeyboardInterrupt if self.name == "SIGINT" else Preempted(what)


@contextmanager
def caught_signals() -> Iterator[Signals]:
    """Note SIGTERM and the first SIGINT while the block runs; the second SIGINT raises KeyboardInterrupt at once.

    Only the main thread of a process receives signals: in others nothing changes.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return

    def note(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and signals.name == "SIGINT":
            raise KeyboardInterrupt
        signals.name = signal.Signals(number).name

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
