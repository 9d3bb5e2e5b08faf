"""What workers and driver tell each other."""

from __future__ import annotations

import time

from pipelines.runtime.board import Beat, Board, LocalLink

BEAT = Beat(rank=1, pid=7, host="h", node="n", step=3, phase="step", count=5)


def test_events_come_in_their_order() -> None:
    board = Board()
    for number in range(5):
        board.post({"step": number})
    assert [event["step"] for event in board.read(3)[0]] == [3, 4]


def test_a_worker_is_told_what_the_driver_wants() -> None:
    board = Board()
    assert not board.beat(BEAT).stop
    board.keep(frozenset({3}), 2)
    board.answer(6, True)
    board.stop()
    orders = board.beat(BEAT)
    assert orders.stop and orders.keep == {3} and orders.measured == 2 and orders.answers == {6: True}
    board.begin(frozenset({9}), 0)
    assert not board.orders.stop and board.orders.keep == {9} and board.read(0)[1] == []


def test_silence_and_standing_still_are_told_apart() -> None:
    board = Board()
    board.beat(BEAT)
    time.sleep(0.2)
    board.beat(BEAT)
    ((beat, quiet, idle),) = board.read(0)[1]
    assert beat == BEAT and quiet < 0.15 and idle >= 0.2
    assert str(beat) == "rank 1 (process 7 on h)"


def test_one_who_trains_alone_keeps_events() -> None:
    link = LocalLink()
    link.post({"kind": "step", "step": 1})
    link.progress(1, "step")
    assert link.events[0]["at"] > 0 and not link.answer(1) and not link.orders.stop
