"""What a Kubeflow step does: one command of `python -m jobs`, here or as a Ray job, and its result as plain values."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aunet.errors import InputError
from pipelines.runtime.code_version import check_code
from pipelines.settings.overrides import flatten
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.store.layout import Store
from pipelines.store.stored_json import read_stored, stored_object
from pipelines.tracking.address import shown_uri

ROOT = Path(__file__).resolve().parents[2]

Command = Callable[[list[str], dict[str, str]], dict[str, Any]]
"""Runs `python -m jobs` with these words and this environment, and returns its result."""


def run_command(words: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run `python -m jobs` to its end and return its result.

    Raises:
        RuntimeError: it failed; its messages are in this step's log.
        InputError: it printed no result.
    """
    command = [sys.executable, "-m", "jobs", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"python -m jobs {' '.join(words)}: exit code {done.returncode}, see the log above")
    name, lines = f"python -m jobs {' '.join(words)}", done.stdout.splitlines()
    if not lines:
        raise InputError(f"{name}: no result on stdout; is `jobs` this project's?")
    return stored_object(lines[-1], f"{name}: the result", "is `jobs` this project's?")


def run_step(
    verb: str, preset: str, overrides: str, target: str, store: str, command: Command = run_command
) -> dict[str, Any]:
    """Run a verb to its end and return its result.

    Args:
        overrides: JSON of dotted names and values.
        target: `local` runs it in this container; `kuberay` as a RayJob that is waited for, and then calls the same
            verb here, which finds the work done and only returns its result.
        store: in place of AUNET_STORE; empty: the environment's.

    Raises:
        InputError: this image holds other code than the pipeline was sent from.
        RuntimeError: the command or the job failed; its messages are in this step's log.
    """
    check_code(os.environ)
    environment = {**os.environ, **({"AUNET_STORE": store} if store else {})}
    words = [preset, "--overrides", overrides]
    if target != "local":
        now = ["--now"] if verb == "retrain" else []
        command(["submit", verb, *words, "--target", target, *now, "--wait"], environment)
    return command([verb, *words], environment)


PARAMETERS = {
    "loss_rpn": "loss.rpn",
    "loss_box": "loss.box",
    "loss_mask": "loss.mask",
    "loss_semantic": "loss.semantic",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "lr": "train.lr",
    "seed": "train.seed",
}
"""The settings that a pipeline has as typed parameters, by the parameter's name."""


def parameter_values(config: RunConfig) -> dict[str, Any]:
    """The values of the typed parameters in a configuration."""
    settings = flatten(config)
    return {name: settings[dotted] for name, dotted in PARAMETERS.items()}


def settled(
    preset: str,
    overrides: str,
    target: str,
    store: str,
    tune: bool,
    parameters: Mapping[str, Any],
    command: Command = run_command,
) -> str:
    """The settings with which a pipeline trains, as JSON of dotted names.

    `overrides`, over them the parameters, and over both the weights that a search found.

    Args:
        tune: search the loss weights first.
        parameters: by their names in `PARAMETERS`.
    """
    given = stored_object(overrides, "overrides", "give an object")
    merged = json.dumps({**given, **{PARAMETERS[name]: value for name, value in parameters.items()}}, sort_keys=True)
    if not tune:
        return merged
    return merged_overrides(merged, run_step("tune", preset, merged, target, store, command)["overrides"])


def train_step(
    preset: str, overrides: str, target: str, store: str, card: str, command: Command = run_command
) -> dict[str, Any]:
    """Train, and write the model's URI to the file `card`. Returns what Kubeflow's page of the model shows.

    The model stays in the store. Its URI cannot be the artifact's own: Kubeflow's launcher uploads an artifact to its
    URI and fails the step, after the training, if that is outside of the pipeline's root.
    """
    result = run_step("train", preset, overrides, target, store, command)
    write_file(card, result["model_uri"].encode())
    link = {"mlflow_run": result["mlflow_run_id"], "mlflow": shown_uri()}
    return {"model_uri": result["model_uri"], "run": result["uri"], "steps": result["steps"], **link}


def measure_step(
    preset: str, overrides: str, target: str, store: str, page: str, command: Command = run_command
) -> dict[str, Any]:
    """Evaluate, and copy the report's page to the file `page`. Returns the verb's result."""
    result = run_step("evaluate", preset, overrides, target, store, command)
    write_file(page, storage.read_bytes(result["html_uri"]))
    return result


def write_file(path: str, content: bytes) -> None:
    """Write an artifact's file, and the folder in which it is."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)


def merged_overrides(overrides: str, tuned_uri: str) -> str:
    """`overrides` with those of a finished search laid over them, as JSON."""
    tuned = read_stored(tuned_uri, "run `tune` again")
    return json.dumps({**stored_object(overrides, "overrides", "give an object"), **tuned}, sort_keys=True)


def record_outcome(state: str, message: str, preset: str, store: str) -> None:
    """Leave the outcome of a pipeline in the store, where a monitor finds it however the pipeline ended.

    Args:
        state: as Kubeflow has it: its driver says COMPLETE where its API says SUCCEEDED.
    """
    state = "SUCCEEDED" if state == "COMPLETE" else state
    uri = Store(store or storage.store_root()).pipeline_uri(preset)
    storage.write_bytes(uri, json.dumps({"preset": preset, "state": state, "message": message}).encode())
    print(f"pipeline {preset}: {state} {message}".rstrip(), file=sys.stderr)
