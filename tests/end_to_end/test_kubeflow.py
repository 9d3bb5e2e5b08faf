"""The main job as a Kubeflow pipeline in kfp's local runner: the same model as from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipelines.store.artifacts import TrainedRun
from pipelines.store.run_folder import RunFolder
from pipelines.tracking.database import client
from pipelines.tracking.runs import start_run
from tests.commands import TINY_RUN, MainJob, jobs, weights_hash


def run_pipeline(store: Path) -> None:
    words = ["submit", "run", "shapes_smoke", *TINY_RUN, "--target", "kubeflow"]
    result, _ = jobs(store, *words, more={"KF_PIPELINES_ENDPOINT": "local"})
    assert result["status"] == "SUCCEEDED"
    assert json.loads((store / "pipelines/shapes_smoke.json").read_text())["state"] == "SUCCEEDED"


def check_the_registered_model(store: Path) -> None:
    version = client().get_model_version_by_alias("aunet-shapes", "champion")
    assert version.source and version.source.startswith(str(store))


def test_the_pipeline_finds_the_run_and_does_the_rest(
    main_job: MainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its settings name the run that the command line has trained; report and registered model are its own."""
    direct, result = main_job.store, main_job.result
    store, name = tmp_path / "store", result["run"]["fingerprint"]
    monkeypatch.setenv("AUNET_STORE", str(store))
    for folder in ("raw", "prepared"):
        shutil.copytree(direct / folder, store / folder)
    run = RunFolder(str(store / "runs" / name))
    shutil.copytree(direct / "runs" / name / "model", run.model_uri)
    shutil.copy(direct / "runs" / name / "events.jsonl", run.history.joined_uri)
    trained = {**result["run"], "uri": run.uri, "model_uri": run.model_uri, "mlflow_run_id": start_run(name, {})}
    run.finish(TrainedRun(**trained))

    run_pipeline(store)
    assert [folder.name for folder in (store / "runs").iterdir()] == [name]
    report = run.report().report()
    assert report is not None and report.metrics == {metric: result[metric] for metric in report.metrics}
    check_the_registered_model(store)


@pytest.mark.slow
def test_the_pipeline_trains_the_same_model(main_job: MainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    direct, store = main_job.store, tmp_path / "store"
    for folder in ("raw", "prepared"):
        shutil.copytree(direct / folder, store / folder)
    run_pipeline(store)
    assert weights_hash(store) == weights_hash(direct)
    monkeypatch.setenv("AUNET_STORE", str(store))
    check_the_registered_model(store)
