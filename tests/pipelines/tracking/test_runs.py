"""MLflow on a fresh SQLite file: runs, tables, artifacts, and a tracker that survives a dead server."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from requests.exceptions import HTTPError

from aunet.errors import InputError, Unavailable
from pipelines.tracking import runs as tracking
from pipelines.tracking.database import answering

ROOT = Path(__file__).parents[3]
START = """
import sys
from pipelines.tracking import runs as tracking
run = tracking.start_run(f"process {sys.argv[1]}", {"train.lr": 0.1})
tracker = tracking.Tracker(run)
for step in range(20):
    tracker.log_metrics({"loss": 1 / (step + 1)}, step)
tracker.close()
assert tracker.dropped == 0
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
    tracker = tracking.Tracker(run)
    for step in range(1500):
        tracker.log_metrics({"loss": 1 / (step + 1), "lr": 0.1}, step)
    tracker.close()
    tracking.log_evaluation(run, {"PQ": 61.5, "PQ_th": float("nan")}, step=1500)
    rows = [{"name": "disc", "PQ": 50.0}, {"name": "sky", "PQ": None}]
    tracking.log_table(run, "per_class.json", rows)
    tracking.log_table(run, "per_class.json", rows)
    tracking.log_artifacts(run, {"overlays/1.png": b"picture", "report.html": b"page"})
    tracking.finish_run(run)

    client = tracking.client()
    kept = client.get_run(run)
    assert tracker.dropped == 0
    assert len(client.get_metric_history(run, "loss")) == 1500
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


def test_a_tracker_without_its_server_never_raises(dead_server: str, capsys: pytest.CaptureFixture[str]) -> None:
    tracker = tracking.Tracker("0" * 32)
    for step in range(50):
        tracker.log_metrics({"loss": 1.0}, step)
    tracker.close(timeout=20)
    tracker.log_metrics({"loss": 1.0}, 50)
    lines = capsys.readouterr().err.splitlines()
    assert tracker.dropped == 51
    assert len(lines) == 2, "one warning, one count"
    assert "trying again" in lines[0] and "50 dropped" in lines[1]


def test_a_dead_server_is_named_before_training_starts(dead_server: str) -> None:
    with pytest.raises(Unavailable, match=r"MLFLOW_TRACKING_URI = .*start the server, or correct or unset"):
        tracking.start_run("x", {})


def test_a_refused_upload_is_one_line_without_a_password(dead_server: str) -> None:
    message = r"MLFLOW_TRACKING_URI = .*: 500 for http://\*\*\*@host/a; start the server"
    with pytest.raises(Unavailable, match=message), answering():
        raise HTTPError("500 for\nhttp://me:secret@host/a")


@pytest.mark.parametrize("content", ["{", "7", "NaN"])
def test_a_damaged_tag_of_tables_is_one_line(content: str, mlflow_store: Path) -> None:
    run = tracking.start_run("x", {})
    tracking.set_tag(run, "mlflow.loggedArtifacts", content)
    with pytest.raises(InputError, match=rf"tag mlflow\.loggedArtifacts of MLflow run {run}"):
        tracking.log_table(run, "per_class.json", [{"name": "disc"}])
