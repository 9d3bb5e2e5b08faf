"""Single stages, each after what it needs: the data is prepared, the run and its report are found."""

from __future__ import annotations

from pipelines import evaluate as evaluation, train as training, tune as search
from pipelines.preprocess import preprocess
from pipelines.settings.run_config import RunConfig
from pipelines.store.artifacts import RegisteredModel, Report, TrainedRun, TunedWeights
from pipelines.store.run_folder import RunFolder
from pipelines.training.identity import run_folder


def train(config: RunConfig) -> TrainedRun:
    """Train on the configuration's data."""
    return training.train(config, preprocess(config))


def evaluate(config: RunConfig, run: str | None = None) -> Report:
    """Measure the run at the URI `run`, by default the configuration's own, on the configuration's data."""
    prepared = preprocess(config)
    folder = RunFolder(run) if run else run_folder(config, prepared)
    return evaluation.evaluate(config, training.find_run(folder), prepared)


def register(config: RunConfig, run: str | None = None) -> RegisteredModel:
    """Register the model of the run at the URI `run`, which needs no data, by default the configuration's own."""
    from pipelines import register as registration  # imports MLflow, which takes seconds and no other stage here needs

    folder = RunFolder(run) if run else run_folder(config, preprocess(config))
    return registration.register(config, evaluation.find_report(training.find_run(folder)))


def tune(config: RunConfig) -> TunedWeights:
    """Search for the loss weights on the configuration's data."""
    search.quieten_ray()  # `preprocess` may start Ray
    return search.tune(config, preprocess(config))
