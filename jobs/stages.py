"""Single stages, each after what it needs: MLflow's address is one, the data is prepared, the run and report exist."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from pipelines import evaluate as evaluation, train as training, tune as search
from pipelines.measuring.released import as_released
from pipelines.preprocess import preprocess
from pipelines.presets import PRESETS
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.store.artifacts import RegisteredModel, Report, TrainedRun, TunedWeights
from pipelines.store.origin import Origin
from pipelines.store.run_folder import RunFolder
from pipelines.tracking.address import check_tracking
from pipelines.training.advice import foreign_name
from pipelines.training.identity import run_folder


def train(config: RunConfig) -> TrainedRun:
    """Train on the configuration's data."""
    check_tracking()
    return training.train(config, preprocess(config))


def evaluate(config: RunConfig, run: str | None = None, changes: Mapping[str, Any] | None = None) -> Report:
    """Measure the run at the URI `run`, by default the configuration's own, on the configuration's data.

    A run that is named is measured with the input size and the fusion of its own model, and on data that are not its
    own apart from its report.

    Args:
        changes: settings of `augment` and `fusion`, by dotted names, with which a named run is measured nevertheless.
    """
    check_tracking()
    if not run:
        prepared = preprocess(config)
        return evaluation.evaluate(config, training.find_run(run_folder(config, prepared)), prepared)
    folder = RunFolder(storage.absolute(run))
    trained = training.find_run(folder)
    prepared = preprocess(config)
    own_data = Origin.of(folder.history).data_fingerprint
    is_foreign = own_data not in ("", prepared.fingerprint)
    wanted = override(as_released(config, folder), changes or {})
    return evaluation.evaluate(wanted, trained, prepared, apart=is_foreign)


def register(config: RunConfig, run: str | None = None) -> RegisteredModel:
    """Register the model of the run at the URI `run`, which needs no data, by default the configuration's own."""
    check_tracking()
    for text in foreign_name(config, PRESETS):
        print(f"warning: {text}", file=sys.stderr)
    from pipelines import register as registration  # imports MLflow, which takes seconds and no other stage here needs

    folder = RunFolder(storage.absolute(run)) if run else run_folder(config, preprocess(config))
    return registration.register(config, evaluation.find_report(training.find_run(folder)))


def tune(config: RunConfig) -> TunedWeights:
    """Search for the loss weights on the configuration's data."""
    check_tracking()
    search.quieten_ray()  # `preprocess` may start Ray
    return search.tune(config, preprocess(config))
