"""The main job as a Kubeflow pipeline: the same model as from the command line.

In kfp's local runner; and compiled, its steps executed in an environment of the compiled YAML alone.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.store import storage
from pipelines.store.artifacts import TrainedRun
from pipelines.store.run_folder import RunFolder
from pipelines.submit import submit
from pipelines.targets.ray_cluster import GRACE_SECONDS
from pipelines.tracking.database import client
from pipelines.tracking.runs import start_run
from tests.canaries import CANARY
from tests.commands import LOGGED_STEPS, TINY_RUN, MainJob, files_of_runs, jobs, stored_run, tiny_changes, weights_hash
from tests.kubeflow_launcher import Launcher
from tests.kuberay_operator import NAMESPACE, Operator
from tests.mlflow_server import mlflow_server

IMAGES = {
    "cluster.image": "registry.example.com/aunet:1.0.0",
    "cluster.step_image": "registry.example.com/aunet-pipeline:1.0.0",
}


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


def compiled(cluster: Operator, folder: Path) -> tuple[Launcher, dict[str, Any]]:
    """The pipeline that `submit` would send, ready to run in the cluster, and its arguments."""
    base = presets.shapes_smoke()
    changes = {**tiny_changes(), **IMAGES, "cluster.deadline_hours": 4000.0}
    sent = submit(
        override(base, changes), verb="run", preset="shapes_smoke", base=base, target="kubeflow", dry_run=True
    )
    own = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "PYTHONPATH": str(cluster.image),
        "KUBECONFIG": os.environ["KUBECONFIG"],  # in place of the service account's token
    }
    secret = cluster.objects[f"{NAMESPACE}/secrets/aunet"]["stringData"]
    return Launcher(sent.text, folder / "root", own, {"aunet": secret}), sent.arguments or {}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cluster", ["v1.7.0"], indirect=True)
def test_the_compiled_pipeline_trains_the_same_model_on_kuberay(
    cluster: Operator, main_job: MainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its steps run where only the compiled YAML is, and send their RayJobs to the stand-in for KubeRay.

    The pod that trains is evicted in the middle.
    """
    monkeypatch.setenv("PLANTED", CANARY)
    monkeypatch.setenv("AUNET_PLANTED", CANARY)
    with mlflow_server(tmp_path) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        launcher, arguments = compiled(cluster, tmp_path)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(launcher.run, arguments)
            while not running.done() and len(files_of_runs("checkpoints")) < 2:
                time.sleep(0.2)
            cluster.evict(grace=GRACE_SECONDS / cluster.speed)
            assert running.result() == "COMPLETE", [step.log[-3000:] for step in launcher.steps.values()]
        version = client().get_model_version_by_alias("aunet-shapes", "champion")
    assert list(launcher.steps) == ["preprocess", "settings", "train", "evaluate", "register", "outcome"]
    assert stored_run() == (weights_hash(main_job.store), LOGGED_STEPS)

    verbs = [path.rpartition("/")[2].partition("-")[0] for path in cluster.objects if "/rayjobs/" in path]
    assert verbs == ["preprocess", "train", "evaluate", "register"]
    assert {entry["gpus"] for entry in cluster.clusters} == {0}
    assert len(cluster.evicted) == 1 and len(cluster.clusters) == 5 and cluster.statuses.count("Retrying") == 1
    for step in launcher.steps.values():
        assert CANARY not in step.log and CANARY not in str(step.environment), step.name
    assert CANARY not in str(cluster.objects) and CANARY not in str(cluster.logs)

    assert launcher.steps["register"].parameters == {"Output": "models:/aunet-shapes/1"}, "the RayJob's, found again"
    model, evaluated = launcher.steps["train"].artifacts["model"], launcher.steps["evaluate"]
    assert Path(model["uri"]).read_text() == model["metadata"]["model_uri"]
    assert model["metadata"]["model_uri"].startswith(os.environ["AUNET_STORE"])
    assert (model["metadata"]["mlflow"], model["metadata"]["mlflow_run"]) == (address, version.run_id)
    metrics = {name: main_job.result[name] for name in evaluated.artifacts["metrics"]["metadata"]}
    assert evaluated.artifacts["metrics"]["metadata"] == metrics and metrics["PQ"] == evaluated.parameters["Output"]
    assert b"<html" in Path(evaluated.artifacts["report"]["uri"]).read_bytes()[:200]
    outcome = json.loads(storage.read_bytes(f"{os.environ['AUNET_STORE']}/pipelines/shapes_smoke.json"))
    assert outcome["state"] == "SUCCEEDED"


def without_the_store(launcher: Launcher, arguments: dict[str, Any]) -> None:
    arguments["store"] = ""
    for executor in launcher.executors.values():
        environment = executor["container"]["env"]
        environment[:] = [entry for entry in environment if entry["name"] != "AUNET_STORE"]


def without_leave_to_pass_it_on(launcher: Launcher, arguments: dict[str, Any]) -> None:
    for executor in launcher.executors.values():
        (given,) = [entry for entry in executor["container"]["env"] if entry["name"] == "AUNET_GIVEN"]
        given["value"] = given["value"].replace("AUNET_STORE", "AUNET_OTHER")


@pytest.mark.parametrize("cluster", ["v1.7.0"], indirect=True)
@pytest.mark.parametrize("change", [without_the_store, without_leave_to_pass_it_on])
def test_without_a_setting_that_the_pipeline_carries_its_first_step_is_wrong_input(
    cluster: Operator, tmp_path: Path, change: Callable[[Launcher, dict[str, Any]], None]
) -> None:
    """Control: what the steps know, they know from the compiled YAML."""
    launcher, arguments = compiled(cluster, tmp_path)
    change(launcher, arguments)
    assert launcher.run(arguments) == "FAILED"
    log = launcher.steps["preprocess"].log
    assert "error: AUNET_STORE: pods share no folder; set it to s3://bucket/prefix" in log and "exit code 2" in log
    assert launcher.steps["train"].state == "SKIPPED" and cluster.clusters == []
