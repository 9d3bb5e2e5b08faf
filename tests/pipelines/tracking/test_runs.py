"""MLflow on a fresh SQLite file: runs, tables, artifacts; one run per training, whatever becomes of it in MLflow."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from requests.exceptions import HTTPError

from aunet.errors import InputError, Unavailable
from pipelines.tracking import runs as tracking
from pipelines.tracking.database import answering

ROOT = Path(__file__).parents[3]
START = """
import sys
from pipelines.tracking import runs as tracking
from pipelines.tracking.tracker import Tracker
run = tracking.start_run(f"process {sys.argv[1]}", {"train.lr": 0.1})
tracker = Tracker(run)
for step in range(20):
    tracker.log_event({"kind": "step", "step": step, "at": step, "loss": 1 / (step + 1)})
assert tracker.conclude("FINISHED") == []
print(run)
"""


@pytest.fixture(autouse=True)
def quick_failures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def dead_server(monkeypatch: pytest.MonkeyPatch) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


def test_a_run_with_its_figures_tables_and_pictures(mlflow_store: Path) -> None:
    params = {"train.lr": 0.1, "augment.crop": None, "long": "x" * 10_000, **{f"p{n}": n for n in range(250)}}
    parent = tracking.start_run("search", {})
    run = tracking.start_run("shapes", params, {"data_fingerprint": "abc"}, parent=parent)
    tracking.log_evaluation(run, {"PQ": 61.5, "PQ_th": float("nan")}, step=1500)
    rows = [{"name": "disc", "PQ": 50.0}, {"name": "sky", "PQ": None}]
    tracking.log_table(run, "per_class.json", rows)
    tracking.log_table(run, "per_class.json", rows)
    tracking.log_artifacts(run, {"overlays/1.png": b"picture", "report.html": b"page"})
    tracking.finish_run(run)

    client = tracking.client()
    kept = client.get_run(run)
    assert kept.data.metrics["PQ"] == 61.5
    assert (kept.data.params["train.lr"], kept.data.params["p249"], len(kept.data.params)) == ("0.1", "249", 253)
    assert (kept.data.tags["mlflow.parentRunId"], kept.data.tags["data_fingerprint"]) == (parent, "abc")
    assert kept.info.status == "FINISHED"
    artifacts = mlflow_store / "mlartifacts" / run / "artifacts"
    assert (artifacts / "overlays/1.png").read_bytes() == b"picture"
    assert json.loads((artifacts / "per_class.json").read_text()) == {
        "columns": ["name", "PQ"],
        "data": [["disc", 50.0], ["sky", None]],
    }
    assert json.loads(kept.data.tags["mlflow.loggedArtifacts"]) == [{"path": "per_class.json", "type": "table"}]
    assert not Path("mlruns").exists()


def test_six_processes_on_a_fresh_file_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([sys.executable, "-c", START, str(n)], cwd=tmp_path, env=environment, **pipes)
        for n in range(6)
    ]
    answers = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, answers
    assert [err for _, err in answers] == [""] * 6, "MLflow is not quiet"
    runs = {out.strip() for out, _ in answers}
    client = tracking.client()
    assert len(runs) == 6
    assert all(len(client.get_metric_history(run, "loss")) == 20 for run in runs)
    assert len(client.search_experiments()) == 2  # MLflow's own default, and ours


def test_a_file_left_half_made_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/.mlflow.db.new").write_bytes(b"half")
    assert tracking.start_run("after", {})


def test_a_dead_server_is_named_before_training_starts(dead_server: str) -> None:
    with pytest.raises(Unavailable, match=r"MLFLOW_TRACKING_URI = .*start the server, or correct or unset"):
        tracking.start_run("x", {})


def test_a_refused_upload_is_one_line_without_a_password(dead_server: str) -> None:
    message = r"MLFLOW_TRACKING_URI = .*: 500 for http://\*\*\*@host/a; start the server"
    with pytest.raises(Unavailable, match=message), answering():
        raise HTTPError("500 for\nhttp://me:secret@host/a")


@pytest.fixture
def once(mlflow_store: Path) -> Any:
    """Calls `run_once` as a training does."""

    def call(**changes: Any) -> str:
        arguments = {"params": {"train.lr": 0.1}, "tags": {"code_version": "abc"}, **changes}
        return tracking.run_once(str(mlflow_store / "run/mlflow_run_id"), "shapes", **arguments)

    return call


def all_runs() -> set[str]:
    experiment = tracking.find_experiment()
    assert experiment is not None
    return {run.info.run_id for run in tracking.client().search_runs([experiment])}


def test_a_training_has_one_run(once) -> None:
    run = once()
    assert once() == run and all_runs() == {run}


def test_what_a_killed_driver_did_not_write_is_written(once) -> None:
    run = once(params={})
    parent = tracking.start_run("study", {})
    assert once(parent=parent) == run
    kept = tracking.client().get_run(run).data
    assert kept.params == {"train.lr": "0.1"}
    assert (kept.tags["mlflow.parentRunId"], kept.tags["code_version"]) == (parent, "abc")
    other = tracking.start_run("study", {})
    once(parent=other)
    assert tracking.client().get_run(run).data.tags["mlflow.parentRunId"] == other


def test_a_run_that_was_deleted_is_replaced(once, capsys: pytest.CaptureFixture[str]) -> None:
    run = once()
    tracking.client().delete_run(run)
    new = once()
    assert new != run and once() == new and all_runs() == {new}
    line = f"MLflow run {run} does not exist at {tracking.shown_uri()}, or was deleted there; {new} replaces it"
    assert capsys.readouterr().err.count(line) == 1


@pytest.mark.parametrize("content", [b"0" * 32, b"", b"\xff\x1b[2J", b"../x"])
def test_an_id_that_mlflow_does_not_know_is_replaced(
    content: bytes, once, mlflow_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once()
    (mlflow_store / "run/mlflow_run_id").write_bytes(content)
    new = once()
    assert (mlflow_store / "run/mlflow_run_id").read_text() == new
    assert "\x1b" not in capsys.readouterr().err


def test_an_experiment_that_was_deleted_is_restored(once) -> None:
    once()
    tracking.client().delete_experiment(str(tracking.find_experiment()))
    run = once()
    assert tracking.client().get_run(run).info.lifecycle_stage == "active"


def test_a_known_run_needs_no_server(once, dead_server: str, mlflow_store: Path, capsys) -> None:
    (mlflow_store / "run").mkdir()
    (mlflow_store / "run/mlflow_run_id").write_text("0" * 32)
    assert once() == "0" * 32
    assert capsys.readouterr().err.endswith("; going on without asking\n")


def test_the_end_of_a_run_raises_nothing(dead_server: str, capsys: pytest.CaptureFixture[str]) -> None:
    tracking.finish_run("0" * 32)
    assert f"MLflow run {'0' * 32} lacks its status FINISHED: " in capsys.readouterr().err


def test_an_evaluation_that_is_repeated_is_logged_once(mlflow_store: Path) -> None:
    run = tracking.start_run("x", {})
    for metrics in ({"PQ": 0.0}, {"PQ": 0.0, "AP": float("nan")}, {"PQ": 0.0, "AP": float("nan")}):
        tracking.log_evaluation(run, metrics, step=10)
    tracking.log_evaluation(run, {"PQ": 0.0}, step=20)
    tracking.log_evaluation(run, {"PQ": 1.0}, step=20)
    client = tracking.client()
    assert [(m.step, m.value) for m in client.get_metric_history(run, "PQ")] == [(10, 0.0), (20, 0.0), (20, 1.0)]
    assert [m.step for m in client.get_metric_history(run, "AP")] == [10]


@pytest.mark.parametrize("content", ["{", "7", "NaN"])
def test_a_damaged_tag_of_tables_is_one_line(content: str, mlflow_store: Path) -> None:
    run = tracking.start_run("x", {})
    tracking.set_tag(run, "mlflow.loggedArtifacts", content)
    with pytest.raises(InputError, match=rf"tag mlflow\.loggedArtifacts of MLflow run {run}"):
        tracking.log_table(run, "per_class.json", [{"name": "disc"}])


def test_an_evaluation_may_have_more_figures_than_mlflow_takes_at_once(mlflow_store: Path) -> None:
    run = tracking.start_run("x", {})
    tracking.log_evaluation(run, {f"PQ/{number}": 1.0 for number in range(1203)}, step=10)
    assert len(tracking.client().get_run(run).data.metrics) == 1203
