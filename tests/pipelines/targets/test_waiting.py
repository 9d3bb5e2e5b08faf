"""What is waited for: looks that fail, troubles that pass and those that do not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from aunet.errors import InputError, Unavailable
from pipelines.targets.pod_troubles import PLACEMENT_PATIENCE, Trouble
from pipelines.targets.ray_cluster import GRACE_SECONDS
from pipelines.targets.waiting import MAX_FAILED_POLLS, QUIET_SECONDS, TROUBLE_SECONDS, Patience, Polls

EVERY_TWO_SECONDS = [2.0 * number for number in range(1000)]
BACKING_OFF = [0.0, *(0.005 * 2**number for number in range(20))]
"""Moments in which an operator tries again."""


def ends(looks: Iterable[tuple[float, Trouble | None]]) -> float | None:
    """The time of the first look that ends the wait; None: none does."""
    now = 0.0
    patience = Patience(TROUBLE_SECONDS, clock=lambda: now)
    for now, trouble in looks:
        if patience.judge(trouble) is not None:
            return now
    return None


def refused(when: float, name: str = "x", patience: int = 1) -> Trouble:
    return Trouble(f"{name}: refused", event=f"RayCluster {name}", moment=f"T{when:07.1f}", patience=patience)


def repeated(
    times: list[float], name: str = "x", since: int = 0, patience: int = 1
) -> list[tuple[float, Trouble | None]]:
    """Looks every five seconds for half an hour, of which each sees the newest event."""
    looks = range(since, 1800, 5)
    return [(float(look), refused(max(t for t in times if t <= look), name, patience)) for look in looks]


def test_what_stands_so_for_long_is_believed() -> None:
    pull = [Trouble("ErrImagePull"), Trouble("ImagePullBackOff")]
    assert ends((5.0 * number, pull[number % 2]) for number in range(20)) == TROUBLE_SECONDS


def test_a_pod_without_a_node_is_given_more_time() -> None:
    """The job before keeps its nodes for two minutes; what comes afterwards is judged by itself."""
    unplaced = Trouble("Unschedulable", patience=PLACEMENT_PATIENCE)
    looks = [(5.0 * number, unplaced) for number in range(200)]
    assert ends(looks) == PLACEMENT_PATIENCE * TROUBLE_SECONDS > 2 * GRACE_SECONDS
    then = [(200.0 + 5 * number, Trouble("ErrImagePull")) for number in range(20)]
    assert ends([*looks[:40], *then]) == 200.0 + TROUBLE_SECONDS


def test_what_happened_once_ends_no_job(capsys: pytest.CaptureFixture[str]) -> None:
    """Kubernetes shows the event for an hour, and what follows may be a warning of another kind, of the network say."""
    assert QUIET_SECONDS < TROUBLE_SECONDS
    assert ends(repeated([0.0])) is None
    assert capsys.readouterr().err == "x: refused\n"


def test_what_happens_again_and_again_ends_the_job_within_a_minute() -> None:
    for times in (EVERY_TWO_SECONDS, BACKING_OFF):
        end = ends(repeated(times))
        assert end is not None and TROUBLE_SECONDS <= end < 60


def test_a_quota_that_stays_full_ends_the_job_after_five_minutes() -> None:
    """Those of the job before count in it for two."""
    for times in (EVERY_TWO_SECONDS, BACKING_OFF):
        end = ends(repeated(times, patience=PLACEMENT_PATIENCE))
        assert end is not None and 2 * GRACE_SECONDS < PLACEMENT_PATIENCE * TROUBLE_SECONDS <= end < 400


def test_what_seldom_happens_again_ends_a_job_that_is_waited_for_later() -> None:
    end = ends(repeated([0.0, *(100.0 * 2**number for number in range(5))], since=150))
    assert end == 200.0


def test_two_that_happened_once_are_not_one_that_happened_twice() -> None:
    first = [(float(look), refused(0, "x")) for look in range(0, 40, 5)]
    assert ends([*first, *repeated([40.0], "y", since=40)]) is None


@pytest.mark.parametrize("between", [None, Trouble("waits for a node", is_final=False)])
def test_a_trouble_that_passed_begins_anew(between: Trouble | None) -> None:
    pull = Trouble("ImagePullBackOff")
    looks = [(0.0, pull), (25.0, pull), (30.0, between), (35.0, pull), (60.0, pull)]
    assert ends(looks) is None
    assert ends([*looks, (65.0, pull)]) == 65.0


def look(polls: Polls, error: Exception | None = None) -> None:
    with polls.look():
        if error is not None:
            raise error


def test_looks_may_fail_but_not_too_often_in_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    polls = Polls()
    for _ in range(3):
        for number in range(1, MAX_FAILED_POLLS):
            look(polls, Unavailable("gone"))
            assert polls.failures == number
        look(polls)
        assert polls.failures == 0
    assert capsys.readouterr().err.splitlines() == ["gone; trying again"] * 3 * (MAX_FAILED_POLLS - 1)
    for _ in range(1, MAX_FAILED_POLLS):
        look(polls, Unavailable("gone"))
    with pytest.raises(Unavailable, match="gone"):
        look(polls, Unavailable("gone"))


def test_what_is_wrong_is_not_tried_again() -> None:
    with pytest.raises(InputError, match="wrong"):
        look(Polls(), InputError("wrong"))
