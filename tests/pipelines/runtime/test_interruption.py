"""Signals are noted, not obeyed at once."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from pipelines.runtime.interruption import Preempted, Signals, caught_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with caught_signals() as signals:
        assert not signals.name
        os.kill(os.getpid(), number)
        assert signals.name == number.name
    assert signal.getsignal(number) is before


def test_the_second_interrupt_ends_at_once() -> None:
    with caught_signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.name == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_other_threads_leave_signals_alone() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with caught_signals() as signals:
            seen.append((signals.name, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [("", before)]


def test_who_waits_is_told() -> None:
    signals = Signals()
    signals.check("nothing has come")
    signals.name = "SIGTERM"
    with pytest.raises(Preempted, match="half done"):
        signals.check("half done")
    signals.name = "SIGINT"
    with pytest.raises(KeyboardInterrupt):
        signals.check("half done")
