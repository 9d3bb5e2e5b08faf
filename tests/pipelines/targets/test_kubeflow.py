"""The Kubeflow pipeline: what is compiled, what is sent, and what its steps call."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.targets import kubeflow
from pipelines.targets.submission import travelling
from tests.canaries import CANARY, leaks

GOLDEN = Path(__file__).parents[3] / "jobs" / "kubeflow_pipeline.yaml"


IMAGES = {
    "cluster.image": "registry.example.com/aunet:1.0.0",
    "cluster.step_image": "registry.example.com/aunet-pipeline:1.0.0",
}
ENVIRONMENT = {
    "AUNET_COCO": "s3://datasets/coco",
    "AUNET_STORE": "s3://models/aunet",
    "MLFLOW_TRACKING_URI": "http://mlflow:5000",
    "AUNET_GIVEN": "AUNET_COCO,AUNET_STORE,MLFLOW_TRACKING_URI",
    "AUNET_CODE": "00000000000c",
}


def coco(changes: dict[str, Any] | None = None) -> RunConfig:
    return override(presets.coco_r50(), {**IMAGES, **(changes or {})})


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    """The pipeline and its platform part, compiled."""
    return list(yaml.safe_load_all(kubeflow.compile_pipeline(coco(), "coco_r50", ENVIRONMENT)))


def test_the_compiled_pipeline_is_the_one_in_the_repository() -> None:
    compiled = kubeflow.compile_pipeline(coco(), "coco_r50", ENVIRONMENT)
    assert GOLDEN.read_text() == compiled, "drifted; look at the difference, then write anew"


def test_every_step_runs_in_our_image_uncached_with_credentials_by_reference(documents: list[dict[str, Any]]) -> None:
    pipeline, platform = documents
    executors = pipeline["deploymentSpec"]["executors"]
    assert {e["container"]["image"] for e in executors.values()} == {IMAGES["cluster.step_image"]}
    assert all("pip install" not in json.dumps(e["container"]) for e in executors.values())
    dags = [pipeline["root"], *pipeline["components"].values()]
    tasks = [task for d in dags for task in d.get("dag", {}).get("tasks", {}).values()]
    leaves = [t for t in tasks if "dag" not in pipeline["components"][t["componentRef"]["name"]]]
    assert len(leaves) == 6 and not any(t["cachingOptions"].get("enableCache") for t in leaves)
    secrets = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(secrets) == set(executors)
    for entry in secrets.values():
        (secret,) = entry["secretAsEnv"]
        assert secret["secretName"] == "aunet" and secret["optional"] is True
        keys = {key["envVar"] for key in secret["keyToEnv"]}
        assert {"AWS_SESSION_TOKEN", "AWS_REGION", "MLFLOW_TRACKING_PASSWORD"} <= keys
        assert "MLFLOW_TRACKING_URI" not in keys, "what the pipeline carries, the Secret does not replace"


def test_every_step_has_the_settings_that_travel(documents: list[dict[str, Any]]) -> None:
    for executor in documents[0]["deploymentSpec"]["executors"].values():
        assert {entry["name"]: entry["value"] for entry in executor["container"]["env"]} == ENVIRONMENT


def test_a_variable_of_the_submitting_shell_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**ENVIRONMENT, "PLANTED": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY}.items():
        if name not in ("AUNET_GIVEN", "AUNET_CODE"):
            monkeypatch.setenv(name, value)
    result = kubeflow.submit_pipeline(coco(), "coco_r50", "run", coco(), dry_run=True)
    assert leaks(result.text) == [] and "PLANTED" not in result.text
    assert "s3://datasets/coco" in result.text and "http://mlflow:5000" in result.text


def test_what_the_secret_gives_a_step_travels_no_further() -> None:
    """A password in MLFLOW_TRACKING_URI would be refused as a setting that travels; the pods have the Secret."""
    inside = {**ENVIRONMENT, "AUNET_GIVEN": "AUNET_STORE", "MLFLOW_TRACKING_URI": f"http://me:{CANARY}@mlflow:5000"}
    assert travelling(inside) == {"AUNET_STORE": "s3://models/aunet"}


@pytest.mark.parametrize("verb", ["run", "retrain"])
def test_a_pipeline_that_is_started_from_kubeflows_pages_has_its_settings(
    monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """The image among them, without which its first step is refused."""
    monkeypatch.setenv("AUNET_STORE", "s3://models/aunet")
    config = coco({"train.momentum": 0.8})
    result = kubeflow.submit_pipeline(config, "coco_r50", verb, presets.coco_r50(), dry_run=True)
    pipeline, _ = yaml.safe_load_all(result.text)
    overrides = pipeline["root"]["inputDefinitions"]["parameters"]["overrides"]["defaultValue"]
    assert overrides == result.to_json()["arguments"]["overrides"]
    assert {"train.momentum", "cluster.image"} <= json.loads(overrides).keys()


def test_the_weights_and_common_settings_are_typed_parameters(documents: list[dict[str, Any]]) -> None:
    parameters = documents[0]["root"]["inputDefinitions"]["parameters"]
    for name, kind, value in [
        ("loss_semantic", "NUMBER_DOUBLE", 0.3),
        ("loss_rpn", "NUMBER_DOUBLE", 1.0),
        ("epochs", "NUMBER_INTEGER", 18),
        ("batch_size", "NUMBER_INTEGER", 16),
        ("lr", "NUMBER_DOUBLE", 0.02),
        ("tune", "BOOLEAN", False),
        ("preset", "STRING", "coco_r50"),
    ]:
        assert parameters[name] == {"defaultValue": value, "isOptional": True, "parameterType": kind}


def test_model_report_and_metrics_are_artifacts(documents: list[dict[str, Any]]) -> None:
    outputs = [c.get("outputDefinitions", {}).get("artifacts", {}) for c in documents[0]["components"].values()]
    kinds = {artifact["artifactType"]["schemaTitle"] for artifacts in outputs for artifact in artifacts.values()}
    assert kinds == {"system.Model", "system.HTML", "system.Metrics"}


def test_the_image_and_the_secret_come_from_the_configuration() -> None:
    config = coco({"cluster.step_image": "registry.example/aunet:7", "cluster.secret": "keys"})
    pipeline, platform = yaml.safe_load_all(kubeflow.compile_pipeline(config, "coco_r50", {}))
    assert all(e["container"]["image"].endswith("aunet:7") for e in pipeline["deploymentSpec"]["executors"].values())
    assert '"secretName": "keys"' in json.dumps(platform)


def test_the_arguments_hold_what_differs_from_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    config = override(presets.coco_r50(), {"train.epochs": 3, "train.momentum": 0.8})
    arguments = kubeflow.pipeline_arguments(config, "coco_r50", presets.coco_r50(), "tune")
    assert arguments == {
        "preset": "coco_r50",
        "overrides": '{"train.momentum": 0.8}',
        "store": "s3://bucket/store",
        "tune": True,
        "loss_rpn": 1.0,
        "loss_box": 1.0,
        "loss_mask": 1.0,
        "loss_semantic": 0.3,
        "epochs": 3,
        "batch_size": 16,
        "lr": 0.02,
        "seed": 0,
    }


STEPS = """
import json, os

def note(*words):
    with open(os.environ["NOTES"], "a") as file:
        file.write(json.dumps(words) + "\\n")

def run_step(verb, preset, overrides, target, store):
    note(verb, overrides)
    if verb == os.environ.get("FAILS"):
        raise RuntimeError("no")
    more = {"reason": "nothing new", "html_uri": "page", "PQ": 40.0, "metrics": {"PQ": 40.0}}
    return {"uri": verb, "overrides": "found", **more}

def train_step(preset, overrides, target, store, card):
    run_step("train", preset, overrides, target, store)
    return {"mlflow": "http://mlflow"}

def measure_step(preset, overrides, target, store, page):
    with open(page, "w") as file:
        file.write("<h1>40.0</h1>")
    return run_step("evaluate", preset, overrides, target, store)

def settled(preset, overrides, target, store, tune, parameters):
    if tune:
        run_step("tune", preset, overrides, target, store)
    return json.dumps({"tuned": tune, "epochs": parameters["epochs"], "semantic": parameters["loss_semantic"]})

def record_outcome(state, message, preset, store):
    note("outcome", state)
"""
PLAIN, TUNED = ({"tuned": tuned, "epochs": 18, "semantic": 0.5} for tuned in (False, True))


def take_notes(folder: Path, monkeypatch: pytest.MonkeyPatch, fails: str = "") -> None:
    """Replace the pipeline's steps by ones that only take notes; one of them fails."""
    (folder / "pipelines/targets").mkdir(parents=True)
    for package in ("pipelines", "pipelines/targets"):
        (folder / package / "__init__.py").touch()
    (folder / "pipelines/targets/steps.py").write_text(STEPS)
    monkeypatch.chdir(folder)
    for name, value in {"PYTHONPATH": "", "NOTES": str(folder / "notes"), "FAILS": fails}.items():
        monkeypatch.setenv(name, value)


def notes_in(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "notes").read_text().splitlines()]


@pytest.mark.parametrize(
    ("arguments", "fails", "verbs", "settings"),
    [
        ({}, "", ["preprocess", "train", "evaluate", "register"], PLAIN),
        ({"tune": True, "min_pq": 50.0}, "", ["preprocess", "tune", "train", "evaluate"], TUNED),
        ({}, "train", ["preprocess", "train"], PLAIN),
    ],
    ids=["plain", "tuned, not good enough", "failing"],
)
def test_conditions_and_exit_handler(
    arguments: dict[str, Any],
    fails: str,
    verbs: list[str],
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The real pipeline in kfp's local runner."""
    take_notes(tmp_path, monkeypatch, fails)
    given = {"preset": "coco_r50", "store": "store", "loss_semantic": 0.5, **arguments}
    with pytest.raises(RuntimeError, match="FAILURE") if fails else contextlib.nullcontext():
        kubeflow.run_here(presets.coco_r50(), "coco_r50", given, root=tmp_path)
    *notes, outcome = notes_in(tmp_path)
    assert [verb for verb, _ in notes] == verbs
    assert outcome == ["outcome", "FAILED" if fails else "SUCCEEDED"]
    for verb, overrides in notes:
        assert json.loads(overrides) == ({} if verb in ("preprocess", "tune") else settings)


def test_a_tick_without_a_cluster_is_one_tick_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_notes(tmp_path, monkeypatch)
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "local")
    config = coco({"train.epochs": 3})
    result = kubeflow.submit_pipeline(config, "coco_r50", "retrain", coco())
    assert (result.status, result.sent) == ("SUCCEEDED", True)
    assert notes_in(tmp_path) == [["retrain", '{"train.epochs": 3}'], ["outcome", "SUCCEEDED"]]
