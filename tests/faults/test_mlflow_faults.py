"""A real MLflow server that is away, fails, is slow, loses its answers: no figure is lost, none is there twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.tracking import runs as tracking
from pipelines.tracking.database import client
from pipelines.tracking.tracker import Tracker, catch_up
from tests.mlflow_server import MoodyProxy, mlflow_server, moody

STEPS = 300
QUICK = (0.1, 0.5)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def proxy(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MoodyProxy]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    with moody(server, stall=1.0) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.endpoint)
        yield proxy


def history() -> list[dict[str, object]]:
    return [{"kind": "step", "step": n, "at": 1e9 + n / 3, "loss": 1 / n, "lr": 0.1} for n in range(1, STEPS + 1)]


def expected() -> Counter[tuple[str, int]]:
    return Counter({(name, n): 1 for name in ("loss", "lr") for n in range(1, STEPS + 1)})


def differences(run_id: str) -> dict[tuple[str, int], int]:
    """How often a figure is there that is not there once."""
    counts, right = points(run_id), expected()
    return {figure: counts[figure] for figure in counts | right if counts[figure] != right[figure]}


def points(run_id: str) -> Counter[tuple[str, int]]:
    names = client().get_run(run_id).data.metrics
    return Counter((name, m.step) for name in names for m in client().get_metric_history(run_id, name))


@pytest.mark.parametrize("mood", ["down", "500", "slow", "lost"])
def test_three_seconds_in_a_bad_mood(mood: str, proxy: MoodyProxy) -> None:
    run = tracking.start_run(mood, {})
    tracker = Tracker(run, retry_seconds=QUICK)
    for number, event in enumerate(history()):
        proxy.mood = mood if 100 <= number < 250 else "well"
        tracker.log_event(event)
        time.sleep(0.02)
        if number == 200:  # a worker was killed: the steps since the last checkpoint are computed again
            for again in history()[50:200]:
                tracker.log_event({**again, "at": time.time()})
    assert tracker.conclude("FINISHED") == []
    assert sum(proxy.seen.values()) > proxy.seen["passed"], "nothing was disturbed"
    assert differences(run) == {}
    assert client().get_run(run).info.status == "FINISHED"


@pytest.mark.parametrize("mood", ["down", "500", "slow", "lost"])
def test_a_bad_mood_to_the_end(mood: str, proxy: MoodyProxy) -> None:
    """What the training could not deliver, the next command does."""
    run = tracking.start_run(mood, {})
    tracker = Tracker(run, retry_seconds=QUICK)
    for number, event in enumerate(history()):
        proxy.mood = mood if number >= 100 else "well"
        tracker.log_event(event)
        time.sleep(0.005)
    warnings = tracker.conclude("FINISHED", seconds=3)
    assert len(warnings) == 1 or mood == "slow"
    proxy.mood = "well"
    catch_up(run, history(), "FINISHED")
    assert differences(run) == {}
    assert client().get_run(run).info.status == "FINISHED"


def test_a_driver_that_was_killed_in_a_bad_mood(proxy: MoodyProxy) -> None:
    run = tracking.start_run("killed", {})
    killed = Tracker(run, retry_seconds=(60, 60))  # its thread goes on, as requests on their way do
    for event in history()[:100]:
        killed.log_event(event)
    while points(run).total() < 200:
        time.sleep(0.1)
    proxy.mood = "lost"
    for event in history()[100:150]:
        killed.log_event(event)
    time.sleep(2)
    proxy.mood = "well"
    assert points(run).total() > 200, "nothing arrived without an answer"
    tracker = Tracker(run, history()[:120], retry_seconds=QUICK)
    for event in history()[110:]:
        tracker.log_event({**event, "at": time.time()})
    assert tracker.conclude("FINISHED") == []
    assert differences(run) == {}


def test_a_run_whose_creation_is_answered_late_is_one(proxy: MoodyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client repeats the request, and the server creates two."""
    proxy.lose_once = "/runs/create"
    run = tracking.start_run("twice", {})
    experiment = tracking.find_experiment()
    assert experiment is not None and not proxy.lose_once
    runs = client().search_runs([experiment], "attributes.run_name = 'twice'")
    assert [entry.info.run_id for entry in runs] == [run]


def test_a_known_run_that_is_not_answered_for(
    proxy: MoodyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = str(tmp_path / "mlflow_run_id")
    run = tracking.run_once(uri, "known", params={})
    proxy.mood = "500"
    assert tracking.run_once(uri, "known", params={}) == run
    assert capsys.readouterr().err.endswith("going on without asking\n")
