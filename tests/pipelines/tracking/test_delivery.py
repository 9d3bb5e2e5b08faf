"""A delivery never waits, never raises, keeps the order, and loses nothing while it lives."""

import threading
from collections.abc import Callable

import pytest

from aunet.errors import InputError, Unavailable
from pipelines.tracking.delivery import Delivery, answer_within

QUICK = (0.01, 0.02)
FOREVER = 1e6
"""Seconds: a test that waits this long fails by its own limit."""


def nothing() -> None:
    """The end of a delivery."""


def test_everything_arrives_in_order_and_then_the_end() -> None:
    got: list[int] = []
    line = Delivery(got.extend, "numbers")
    for number in range(5000):
        line.put(number)
    assert line.close(lambda: got.append(-1), FOREVER)
    assert got == [*range(5000), -1] and line.waiting == 0 and line.problem is None


def test_an_outage_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    got: list[int] = []
    failures = iter(range(5))

    def receive(batch: list[int]) -> None:
        if next(failures, None) is not None:
            raise ConnectionError("no answer")
        got.extend(batch)

    line = Delivery(receive, "numbers", QUICK)
    for number in range(100_000):
        line.put(number)
    assert line.close(nothing, FOREVER)
    assert got == list(range(100_000))
    assert capsys.readouterr().err == "numbers: ConnectionError: no answer; trying again\n"


def waiting_for(event: threading.Event) -> Callable[[list[int]], None]:
    """A receiver that accepts nothing before the event."""

    def receive(batch: list[int]) -> None:
        event.wait(FOREVER)

    return receive


def test_who_puts_never_waits() -> None:
    blocked = threading.Event()
    line = Delivery(waiting_for(blocked), "numbers")
    for number in range(100_000):
        line.put(number)
    assert line.waiting == 100_000
    blocked.set()
    assert line.close(nothing, FOREVER)


def test_closing_does_not_wait_for_a_stuck_receiver() -> None:
    stuck = threading.Event()
    line = Delivery(waiting_for(stuck), "numbers")
    line.put(1)
    assert not line.close(nothing, 0.3)
    assert line.waiting == 1
    stuck.set()


@pytest.mark.parametrize(
    ("error", "patience"), [(InputError("it was deleted"), FOREVER), (Unavailable("no answer"), 0.3)]
)
def test_what_is_final_is_not_waited_for(error: Exception, patience: float) -> None:
    attempts = 0

    def refuse(batch: list[int]) -> None:
        nonlocal attempts
        attempts += 1
        raise error

    line = Delivery(refuse, "numbers", QUICK)
    line.put(1)
    assert not line.close(nothing, patience)
    assert line.problem == str(error)
    assert isinstance(error, InputError) or attempts > 2


def test_an_end_that_fails_is_tried_again() -> None:
    failures = iter(range(3))

    def end() -> None:
        if next(failures, None) is not None:
            raise ConnectionError("no answer")

    assert Delivery(lambda _: None, "numbers", QUICK).close(end, FOREVER)


def test_an_answer_in_time_and_none() -> None:
    def refuse() -> None:
        raise InputError("no such run")

    assert answer_within(FOREVER, lambda: 7, "MLflow") == 7
    with pytest.raises(InputError, match="no such run"):
        answer_within(FOREVER, refuse, "MLflow")
    never = threading.Event()
    with pytest.raises(Unavailable, match="MLflow: no answer within 0 s"):
        answer_within(0.1, lambda: never.wait(FOREVER), "MLflow")
    never.set()
