"""Every figure of a training arrives in MLflow once: after a kill, a step that is computed again, a deleted run."""

import socket
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric

from aunet.errors import InputError
from pipelines.tracking import runs as tracking
from pipelines.tracking.database import client
from pipelines.tracking.tracker import Tracker, catch_up, figures
from tests.disks import small_disk

Event = dict[str, Any]


def step(number: int, at: float = 1e9, **more: Any) -> Event:
    return {"kind": "step", "step": number, "steps": 100, "eta_s": 1.0, "at": at + number, "loss": 1 / number, **more}


def points(run_id: str) -> Counter[tuple[str, int]]:
    """How often MLflow has each name and step."""
    names = client().get_run(run_id).data.metrics
    return Counter((name, m.step) for name in names for m in client().get_metric_history(run_id, name))


def once(name: str, steps: Sequence[int]) -> Counter[tuple[str, int]]:
    return Counter({(name, number): 1 for number in steps})


pytestmark = pytest.mark.usefixtures("mlflow_store")


def test_figures_of_an_event_with_the_moment_of_their_measurement() -> None:
    events = [step(3, epoch=0.5), {"kind": "evaluation", "step": 3, "at": 1.0, "PQ": 4, "name": "x"}]
    assert [[(m.key, m.value, m.timestamp, m.step) for m in figures(event)] for event in events] == [
        [("loss", 1 / 3, 1_000_000_003_000, 3), ("epoch", 0.5, 1_000_000_003_000, 3)],
        [("PQ", 4.0, 1000, 3)],
    ]
    assert list(figures({"kind": "checkpoint", "step": 3, "at": 1.0, "seconds": 4.0})) == []


def test_a_training() -> None:
    run = tracking.start_run("x", {})
    tracker = Tracker(run)
    for number in range(1, 1501):
        tracker.log_event(step(number))
    tracker.log_event({"kind": "failure", "step": 7, "at": 1.0, "rank": 0})
    assert tracker.conclude("FINISHED") == []
    assert points(run) == once("loss", range(1, 1501))
    assert client().get_run(run).info.status == "FINISHED"


def test_steps_that_are_computed_again_arrive_once() -> None:
    run = tracking.start_run("x", {})
    tracker = Tracker(run)
    for number in (1, 2, 3, 2, 3, 4):
        tracker.log_event(step(number, at=time.time()))
    wait_for(lambda: points(run)["loss", 4])
    for number in (3, 4, 5):
        tracker.log_event(step(number, at=time.time()))
    tracker.conclude("FINISHED")
    assert points(run) == once("loss", range(1, 6))


def test_a_new_driver_delivers_what_the_killed_one_did_not() -> None:
    """MLflow has steps that the history lost, and lacks steps that the history has."""
    run = tracking.start_run("x", {})
    killed = Tracker(run)
    for number in (1, 2, 5, 6):
        killed.log_event(step(number))
    killed.conclude("FAILED")
    tracker = Tracker(run, [step(number) for number in range(1, 5)])
    for number in range(5, 9):
        tracker.log_event(step(number, at=time.time()))
    wait_for(lambda: client().get_run(run).info.status == "RUNNING")
    assert tracker.conclude("FINISHED") == []
    assert points(run) == once("loss", range(1, 9))


def wait_for(condition: Any, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("value", [0.25, 0.1 + 0.2, 1e-300, float("nan"), float("inf"), -0.0])
def test_mlflow_keeps_one_of_two_equal_points(value: float) -> None:
    """What makes a request harmless that was obeyed and is repeated; with another moment there would be two."""
    run = tracking.start_run("x", {})
    for _ in range(2):
        client().log_batch(run, metrics=[Metric("loss", value, 1000, 1), Metric("loss", value, 2000, 2)])
    client().log_batch(run, metrics=[Metric("loss", value, 1000, 1), Metric("loss", value, 3000, 3)])
    assert points(run) == once("loss", [1, 2, 3])
    client().log_batch(run, metrics=[Metric("loss", value, 1001, 1)])
    assert points(run)["loss", 1] == 2


def test_catching_up_twice_sends_nothing_the_second_time() -> None:
    run = tracking.start_run("x", {})
    history = [step(number) for number in range(1, 1200)]
    catch_up(run, history, "FINISHED")
    ended = client().get_run(run).info.end_time
    catch_up(run, history, "FINISHED")
    assert points(run) == once("loss", range(1, 1200))
    assert client().get_run(run).info.end_time == ended


def test_a_run_that_was_deleted_costs_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    run = tracking.start_run("x", {})
    tracker = Tracker(run)
    tracker.log_event(step(1))
    wait_for(lambda: points(run)["loss", 1])
    client().delete_run(run)
    tracker.log_event(step(2))
    (warning,) = tracker.conclude("FINISHED", seconds=1e6)  # what is final is not waited for
    for words in (f"MLflow run {run} lacks the figures of 1 events and its status FINISHED", "the next `evaluate` of"):
        assert words in warning
    with pytest.raises(InputError, match="it was deleted at sqlite"):
        catch_up(run, [step(1)], "FINISHED")


def test_a_server_that_is_away_costs_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = Tracker("0" * 32, [step(1)], retry_seconds=(0.05, 0.1))
    for number in range(2, 50):
        tracker.log_event(step(number))
    (warning,) = tracker.conclude("KILLED", seconds=3)
    assert "lacks the figures of 49 events and its status KILLED" in warning and "the next `train` of" in warning
    assert capsys.readouterr().err.count("trying again") == 1


def test_a_database_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk", 40) as disk:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{disk.path}/mlflow.db")
        run = tracking.start_run("x", {})
        disk.fill()
        tracker = Tracker(run, retry_seconds=(0.1, 0.2))
        history = [step(number) for number in range(1, 3000)]
        for event in history:
            tracker.log_event(event)
        (warning,) = tracker.conclude("FINISHED", seconds=5)
        assert "events and its status FINISHED" in warning
        disk.free()
        catch_up(run, history, "FINISHED")
        assert points(run) == once("loss", range(1, 3000))
        assert client().get_run(run).info.status == "FINISHED"
