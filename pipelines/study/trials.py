"""What a trial's process runs: the normal training code, which reports to Ray Tune and ends when it is stopped."""

from __future__ import annotations

import os
from typing import Any

import ray
from ray import tune

from pipelines.runtime.events import Event
from pipelines.runtime.interruption import Stopped
from pipelines.settings.run_config import RunConfig, from_json
from pipelines.store.run_folder import RunFolder
from pipelines.study.search import trial_config, weights_of
from pipelines.training.driver import train_run
from pipelines.training.identity import run_folder

DRIVER = {"memory": 1.0}
"""What Ray reserves for a trial beside its training workers: one byte, since nothing at all is not allowed."""


def run_trial(proposal: dict[str, Any], settings: dict[str, Any]) -> None:
    """Train one trial by the normal training code, report every evaluation to Tune, and end when the search stops it.

    Args:
        proposal: `number` and `point` of the trial.
        settings: `config` (JSON of RunConfig), `study`, `prepared`, `parent`, `environment` and `stopped`.
    """
    os.environ.update(settings["environment"])
    base = from_json(RunConfig, settings["config"])
    config = trial_config(base, weights_of(proposal["point"]), settings["study"])
    prepared = settings["prepared"]
    failures: list[str] = []

    def note(event: Event) -> None:
        if event["kind"] == "failure":
            failures.append(event["error"])

    def report(event: Event) -> bool:
        ended = event["step"] == event["steps"]
        tune.report({"PQ": event["PQ"], "epoch": config.train.epochs if ended else int(event["epoch"] + 1e-6)})
        return ray.get(settings["stopped"].has.remote(proposal["number"]))  # Tune has decided when `report` returns

    if any(report(event) for event in evaluations(run_folder(config, prepared))):
        return
    try:
        train_run(config, prepared, parent=settings["parent"], listeners=[note], stop=report)
    except Stopped:
        return
    except Exception:
        if not failures or "FloatingPointError" not in failures[-1]:
            raise
        tune.report({"PQ": 0.0, "epoch": config.train.epochs, "error": failures[-1]})


@ray.remote(num_cpus=0)
def train_again(config: dict[str, Any], settings: dict[str, Any]) -> float:
    """Train one configuration to its end. Returns its last PQ."""
    os.environ.update(settings["environment"])
    run = train_run(from_json(RunConfig, config), settings["prepared"], parent=settings["parent"], listeners=[])
    return evaluations(RunFolder(run.uri))[-1]["PQ"]


def evaluations(folder: RunFolder) -> list[Event]:
    """The evaluations in a run's history so far."""
    return [event for event in folder.history.events() if event["kind"] == "evaluation"]
