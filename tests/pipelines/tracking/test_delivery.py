"""A delivery never waits, never raises, keeps the order, and counts what it loses."""

import threading
import time
from collections.abc import Callable

import pytest

from pipelines.tracking import delivery
from pipelines.tracking.delivery import Delivery


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "RETRY_SECONDS", (0.01, 0.02))


def test_everything_arrives_in_order() -> None:
    got: list[int] = []
    line = Delivery(got.extend, "numbers")
    for number in range(5000):
        line.put(number)
    line.close()
    assert got == list(range(5000)) and line.dropped == 0


def test_an_outage_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    got: list[int] = []
    failures = iter(range(5))

    def receive(batch: list[int]) -> None:
        if next(failures, None) is not None:
            raise ConnectionError("no answer")
        got.extend(batch)

    line = Delivery(receive, "numbers")
    for number in range(100):
        line.put(number)
    deadline = time.monotonic() + 10
    while len(got) < 100 and time.monotonic() < deadline:
        time.sleep(0.01)
    line.close()
    assert got == list(range(100)) and line.dropped == 0
    assert capsys.readouterr().err == "numbers: ConnectionError: no answer; trying again\n"


def waiting_for(event: threading.Event) -> Callable[[list[int]], None]:
    """A receiver that accepts nothing before the event."""

    def receive(batch: list[int]) -> None:
        event.wait(30)

    return receive


def test_a_full_queue_drops_and_does_not_wait(capsys: pytest.CaptureFixture[str]) -> None:
    blocked = threading.Event()
    line = Delivery(waiting_for(blocked), "numbers", capacity=10)
    started = time.monotonic()
    for number in range(1000):
        line.put(number)
    assert time.monotonic() - started < 2
    assert line.dropped >= 1000 - 10 - 500
    blocked.set()
    line.close()
    assert capsys.readouterr().err.count("the queue is full") == 1


def test_closing_does_not_wait_for_a_stuck_receiver() -> None:
    stuck = threading.Event()
    line = Delivery(waiting_for(stuck), "numbers")
    line.put(1)
    started = time.monotonic()
    line.close(timeout=0.3)
    assert time.monotonic() - started < 2
    stuck.set()
