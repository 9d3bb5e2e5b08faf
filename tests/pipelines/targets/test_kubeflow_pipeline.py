"""The compiled pipeline, run by a stand-in for Kubeflow, its steps replaced by ones that write down what they see."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.targets.kubeflow import submit_pipeline
from tests.canaries import CANARY
from tests.kubeflow_launcher import Launcher

STEPS = """
import json, os

def run_step(verb, preset, overrides, target, store):
    print(json.dumps(dict(os.environ)))
    if overrides == '{"fails": 1}':
        raise RuntimeError("exit code 2")
    return {"uri": verb + " of " + preset, "reason": "nothing new", "metrics": {"PQ": 40.5}, "PQ": 40.5}

def train_step(preset, overrides, target, store, card):
    with open(card, "w") as file:
        file.write("s3://models/elsewhere")
    return {"mlflow": "http://mlflow", **run_step("train", preset, overrides, target, store)}

def measure_step(preset, overrides, target, store, page):
    with open(page, "w") as file:
        file.write("<h1>40.5</h1>")
    return run_step("evaluate", preset, overrides, target, store)

def settled(preset, overrides, target, store, tune, parameters):
    return json.dumps({"tune": tune, **parameters})

def record_outcome(state, message, preset, store):
    print(json.dumps({"outcome": state}))
"""
IMAGES = {
    "cluster.image": "registry.example.com/aunet:1.0.0",
    "cluster.step_image": "registry.example.com/aunet-pipeline:1.0.0",
}
SECRET = {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "a-secret", "UNASKED": CANARY}
SETTINGS = {"AUNET_STORE": "s3://models/aunet", "MLFLOW_TRACKING_URI": "http://mlflow:5000"}

Start = Callable[..., tuple[Launcher, str, dict[str, Any]]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Compile as `submit --dry-run` does, and make ready to run: the launcher, the text, the arguments."""
    for package in ("pipelines", "pipelines/targets"):
        (tmp_path / "image" / package).mkdir(parents=True)
        (tmp_path / "image" / package / "__init__.py").touch()
    (tmp_path / "image/pipelines/targets/steps.py").write_text(STEPS)
    own = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "image")}
    for name, value in {**SETTINGS, "PLANTED": CANARY, "AUNET_PLANTED": CANARY}.items():
        monkeypatch.setenv(name, value)

    def launcher(verb: str = "run", **changes: Any) -> tuple[Launcher, str, dict[str, Any]]:
        base = presets.coco_r50()
        settings = {name.replace("__", "."): value for name, value in changes.items()}
        config = override(base, {**IMAGES, "data.root": "s3://datasets/coco", **settings})
        sent = submit_pipeline(config, "coco_r50", verb, base, dry_run=True)
        return Launcher(sent.text, tmp_path / "run", own, {"aunet": SECRET}), sent.text, sent.arguments or {}

    return launcher


def test_steps_see_the_compiled_pipeline_and_the_secret_and_give_parameters_and_artifacts(start: Start) -> None:
    launcher, _, arguments = start(loss__semantic=0.5, train__epochs=3)
    assert launcher.run(arguments) == "COMPLETE", [step.log for step in launcher.steps.values()]
    names = ["preprocess", "settings", "train", "evaluate", "register", "outcome"]
    assert [step.name for step in launcher.steps.values()] == names
    for step in launcher.steps.values():
        assert (step.is_cached, step.retries) == (False, 0)
        assert step.environment.items() >= SETTINGS.items() and step.environment["AWS_ACCESS_KEY_ID"] == "a-key"
        assert CANARY not in json.dumps(step.environment) and CANARY not in step.log
    settings = json.loads(launcher.steps["settings"].parameters["Output"])
    assert (settings["loss_semantic"], settings["epochs"], settings["tune"]) == (0.5, 3, False)
    assert launcher.steps["register"].parameters == {"Output": "register of coco_r50"}
    assert launcher.steps["evaluate"].parameters == {"Output": 40.5}
    artifacts = launcher.steps["evaluate"].artifacts
    assert artifacts["metrics"]["metadata"] == {"PQ": 40.5}
    assert artifacts["report"]["type"]["schemaTitle"] == "system.HTML"
    assert Path(artifacts["report"]["uri"]).read_text() == "<h1>40.5</h1>"
    model = launcher.steps["train"].artifacts["model"]
    assert (model["type"]["schemaTitle"], model["metadata"]["mlflow"]) == ("system.Model", "http://mlflow")
    assert '{"outcome": "COMPLETE"}' in launcher.steps["outcome"].log


def test_a_model_that_is_not_good_enough_is_not_registered(start: Start) -> None:
    launcher, _, arguments = start()
    assert launcher.run({**arguments, "min_pq": 40.6}) == "COMPLETE"
    assert "register" not in launcher.steps
    assert launcher.steps["good enough"].state == "SKIPPED" and launcher.steps["outcome"].state == "COMPLETE"


def test_a_failed_step_ends_the_pipeline_and_its_outcome_is_kept(start: Start) -> None:
    launcher, _, arguments = start()
    assert launcher.run({**arguments, "overrides": '{"fails": 1}'}) == "FAILED"
    states = {name: step.state for name, step in launcher.steps.items()}
    assert states.pop("preprocess") == "FAILED" and states.pop("outcome") == "COMPLETE"
    assert set(states.values()) == {"SKIPPED"} and '{"outcome": "FAILED"}' in launcher.steps["outcome"].log


def test_an_artifact_that_names_the_store_as_its_own_place_fails_the_step(start: Start) -> None:
    """Control: as Kubeflow's launcher, the stand-in uploads nothing to where the pipeline's root is not."""
    launcher, _, arguments = start()
    command = launcher.executors["exec-fit"]["container"]["command"]
    command[-1] = f"{command[-1].rstrip()}\n    model.uri = 's3://models/aunet/runs/x'\n"
    assert launcher.run(arguments) == "FAILED"
    assert "failed to upload output artifact 'model'" in launcher.steps["train"].log


def test_a_tick_is_one_step_that_says_why(start: Start) -> None:
    launcher, text, arguments = start("retrain")
    assert launcher.run(arguments) == "COMPLETE"
    assert launcher.steps["retrain"].parameters == {"Output": "nothing new"}
    assert list(launcher.steps) == ["retrain", "outcome"] and len(list(yaml.safe_load_all(text))) == 2
    assert "PLANTED" in os.environ
