"""MLflow runs that say RUNNING though their driver was killed: found by `doctor`, closed by `gc`, and no others."""

from pathlib import Path

import pytest

from pipelines.checks import services
from pipelines.gc import gc
from pipelines.store.in_use import in_use
from pipelines.store.layout import Store
from pipelines.store.run_folder import RunFolder
from pipelines.tracking import runs as tracking
from pipelines.tracking.abandoned import close_abandoned
from pipelines.tracking.database import client


def begin(name: str) -> tuple[RunFolder, str]:
    """A training that was begun, and its MLflow run."""
    Store.here().claim()
    folder = Store.here().run(name)
    return folder, tracking.run_once(folder.mlflow_id_uri, name, params={})


def status(run_id: str) -> str:
    return client().get_run(run_id).info.status


def test_a_killed_run_is_closed_and_no_other(mlflow_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (killed_folder, killed), (driven_folder, driven), (finished_folder, finished) = map(begin, ("a", "b", "c"))
    Path(finished_folder.artifact_uri).write_text("{}")
    (mlflow_store / "runs/never-begun").mkdir()
    elsewhere = tracking.start_run("elsewhere", {})
    with in_use(driven_folder.in_use_uri):
        finding = services.runs()
        assert finding.ok and "jobs gc" in finding.cure
        assert f"1, such as {killed} of {killed_folder.uri}" in finding.detail
        assert gc(dry_run=True).closed == (killed,) and status(killed) == "RUNNING"
        assert f"would mark MLflow run {killed} of {killed_folder.uri} as KILLED" in capsys.readouterr().err
        assert gc().to_json() == {"deleted": [], "aborted": [], "bytes": 0, "closed": [killed], "dry_run": False}
    assert status(killed) == "KILLED"
    assert {status(run) for run in (driven, finished, elsewhere)} == {"RUNNING"}
    assert gc().closed == (driven,)
    assert services.runs() == (True, "none is RUNNING in MLflow without a driver", "")


def test_a_server_that_is_away_is_one_line(
    mlflow_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begin("a")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert gc().closed == ()
    lines = [line for line in capsys.readouterr().err.splitlines() if "MLflow" in line]
    assert len(lines) == 1 and lines[0].startswith("MLflow runs that nobody drives were not all closed at http:")


def test_nothing_is_asked_where_there_is_nothing_to_close(
    mlflow_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = begin("a")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with in_use(folder.in_use_uri):
        assert close_abandoned([folder], dry_run=False) == ()
    Path(folder.artifact_uri).write_text("{}")
    assert close_abandoned([folder], dry_run=False) == ()
    assert capsys.readouterr().err == ""
