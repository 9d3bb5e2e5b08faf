"""`tune`: prepared data → the best loss weights λ1–λ4, and the study that found them. Run again, it continues."""

from __future__ import annotations

import json
import os

from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.store.artifacts import PreparedData, TunedWeights
from pipelines.store.layout import Store
from pipelines.store.stored_json import read_stored
from pipelines.study.search import study_id

CURE = "delete it and run `tune` again: the trials are kept"
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_worker_maximum_startup_concurrency": "8",
}
"""Ray Tune keeps its tables and files to itself, Ctrl-C ends the command, and a Ray that is started here does not warn
of the dozen small processes that every trial has."""


def quieten_ray() -> None:
    """Set `QUIET` where the environment does not say otherwise; to be called before Ray starts."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def tune(config: RunConfig, prepared: PreparedData) -> TunedWeights:
    """Search λ1–λ4 for the highest PQ on a fixed slice of the validation split, then confirm with several seeds.

    Every trial is a normal training run with other weights. What the search has proposed and seen is recorded event
    by event, so that the command continues where it was killed, with the same trials.

    Raises:
        Refused: the cluster cannot hold a trial, or not as many at a time as asked for.
        InputError: the configuration is wrong.
    """
    folder = Store.here().study(study_id(config, prepared))
    if storage.exists(folder.result_uri):
        result = TunedWeights.from_fields(read_stored(folder.result_uri, CURE), folder.result_uri)
        if result.confirm_seeds == config.tune.confirm_seeds:
            return result
    quieten_ray()
    from pipelines.study.driver import run_study  # reads that environment, and a finished study needs no Ray

    result = run_study(config, prepared, folder)
    storage.write_bytes(folder.result_uri, json.dumps(result.to_json(), indent=1).encode())
    return result
