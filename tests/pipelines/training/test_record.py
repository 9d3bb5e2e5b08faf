"""What the driver decides by: the events of a run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.store.history import History
from pipelines.training.record import RunRecord


def record(folder: Path, *events: dict[str, Any]) -> tuple[RunRecord, list[dict[str, Any]]]:
    history, shown = History(str(folder / "run")), list[dict[str, Any]]()
    history.append(events)
    return RunRecord(history, [shown.append]), shown


def evaluation(step: int, pq: float) -> dict[str, Any]:
    return {"kind": "evaluation", "step": step, "PQ": pq}


@pytest.mark.parametrize(
    ("qualities", "patience", "end"),
    [
        ([], 1, None),
        ([1.0, 2.0, 3.0], 1, None),
        ([3.0, 2.0], 1, 20),
        ([3.0, 2.0], 2, None),
        ([3.0, 3.0, 3.0], 2, 30),
        ([3.0, 2.0, 4.0, 1.0], 2, None),
        ([3.0, 2.0, 1.0], 0, None),
        ([3.0, 2.0, 9.0], 1, 20),
    ],
)
def test_patience_ends_after_so_many_that_are_no_better(
    tmp_path: Path, qualities: list[float], patience: int, end: int | None
) -> None:
    run, _ = record(tmp_path, *[evaluation(10 * n, pq) for n, pq in enumerate(qualities, 1)])
    assert run.exhausted_at(patience) == end
    assert end is None or end in run.wanted(patience)


def test_the_first_of_the_best_is_the_best(tmp_path: Path) -> None:
    run, _ = record(tmp_path, evaluation(10, 1.0), evaluation(20, 5.0), evaluation(30, 5.0))
    assert run.best == (5.0, (20,))
    assert RunRecord(History(str(tmp_path / "none")), []).best == (float("-inf"), ())


def test_figures_come_with_checkpoints_all_else_at_once(tmp_path: Path) -> None:
    run, shown = record(tmp_path)
    run.see({"kind": "step", "step": 10, "at": 1.0})
    run.see(evaluation(10, 3.0))
    run.see({"kind": "checkpoint", "step": 10, "at": 2.0, "name": "a"})
    run.write()
    run.add("restart", 10, text="rank 1 was killed")
    run.insert(evaluation(12, 4.0))
    assert [event["kind"] for event in shown] == ["step", "evaluation", "checkpoint", "restart", "evaluation"]
    assert run.quality == {10: 3.0, 12: 4.0} and run.last_step == 12
    assert [event["kind"] for event in run.history.events()] == ["checkpoint", "restart", "evaluation"]


def test_what_a_store_does_not_accept_is_kept(tmp_path: Path) -> None:
    run, _ = record(tmp_path)
    (tmp_path / "run").write_text("a file in the way")
    run.add("start", 0)
    (tmp_path / "run").unlink()
    run.add("end", 5)
    assert [event["kind"] for event in run.history.events()] == ["start", "end"]


def test_goodput_is_the_share_of_the_time_that_counts(tmp_path: Path) -> None:
    timed = {"kind": "step", "input_ms": 100.0, "forward_ms": 400.0, "backward_ms": 400.0, "optimizer_ms": 100.0}
    start = {"kind": "start", "step": 0, "at": time.time() - 40}
    run, _ = record(tmp_path, start, {**timed, "step": 10, "checkpoint_ms": 900.0}, {**timed, "step": 20})
    assert run.goodput() == pytest.approx(0.5, abs=0.01)
    assert record(tmp_path / "none")[0].goodput() is None


@pytest.mark.parametrize(
    ("kinds", "text"),
    [([], ""), (["start", "checkpoint"], "the driver was lost"), (["start", "end", "warning"], "the run is continued")],
)
def test_how_the_driver_before_ended(tmp_path: Path, kinds: list[str], text: str) -> None:
    run, _ = record(tmp_path, *[{"kind": kind, "step": 1} for kind in kinds])
    assert run.interruption == text
