"""`tune`: prepared data → the best loss weights λ1–λ4, and the study that found them. Run again, it goes on."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from dataclasses import asdict
from typing import Any

from aunet.config import LossWeights
from pipelines import storage
from pipelines.artifacts import PreparedData
from pipelines.config import RunConfig, to_json
from pipelines.study.record import Record, Trial, best_of
from pipelines.study.search import Study, concurrency, known_points, study_id, validation_slice

RESULT = "tuned.json"
"""Written when a study is finished."""
STARTUP_TRIALS = 6
"""Finished or stopped trials before Optuna's estimate takes over from chance."""
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_worker_maximum_startup_concurrency": "8",
}
"""Ray Tune keeps its tables and files to itself, Ctrl-C ends the command, and a Ray that is started here does not warn
of the dozen small processes that every trial has."""


def tune(config: RunConfig) -> dict[str, Any]:
    """Search λ1–λ4 for the highest PQ on a fixed slice of the validation split, then confirm with several seeds.

    Every trial is a normal training run with other weights. What the search has proposed and seen is recorded event
    by event, so that the command goes on where it was killed, with the same trials.

    Returns:
        `overrides` (URI of what `train --overrides` takes), `trials` (their number), `best`, `study_uri`, …

    Raises:
        Refused: the cluster does not carry a trial, or not as many at a time as asked for.
        InputError: the data or the configuration is wrong.
    """
    from pipelines.preprocess import preprocess

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    prepared = preprocess(config)
    uri = storage.join(storage.store_root(), "tuned", study_id(config, prepared))
    place = storage.join(uri, RESULT)
    if storage.exists(place):
        result = json.loads(storage.read_bytes(place))
        if result["confirm_seeds"] == config.tune.confirm_seeds:
            return result

    import ray

    from pipelines import tracking
    from pipelines.cluster import connect

    connect()
    slots = concurrency(config, ray.cluster_resources())
    record = Record(storage.join(uri, "record"))
    storage.write_bytes(storage.join(uri, "config.json"), json.dumps(to_json(config), indent=1).encode())
    parent, status = _mlflow_run(config, uri, prepared), "FAILED"
    study = Study(config, prepared, uri, parent, slots)
    try:
        _search(study, record)
        trials = [_describe(study, trial) for trial in record.trials.values()]
        best = trials[best_of(record.trials.values()).number]
        confirmed = _confirm(study, {"best": LossWeights(**best["weights"]), "preset": config.loss})
        result = _publish(study, trials, best, confirmed)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracking.finish_run(parent, status)
    storage.write_bytes(place, json.dumps(result, indent=1).encode())
    return result


def _search(study: Study, record: Record) -> None:
    """Train every trial that is not trained yet."""
    settings = study.config.tune
    resume = [
        number
        for number, trial in record.trials.items()
        if trial.state == "running" or (trial.state == "finished" and not study.is_trained(trial.weights))
    ]
    missing = settings.num_trials - len(record.trials)
    if resume or missing:
        from ray.tune import FailureConfig, RunConfig as Place, TuneConfig, Tuner, with_parameters, with_resources

        from pipelines.study.trials import DRIVER, RecordedScheduler, RecordedSearcher, Search, StoppedTrials, run_trial

        known = known_points(study.config.loss, settings.span)
        search = Search(record, settings, known, seeded_sampler(settings.seed), resume)
        stopped: Any = StoppedTrials.remote()
        runner = with_resources(with_parameters(run_trial, settings={**study.settings(), "stopped": stopped}), DRIVER)
        how = TuneConfig(
            num_samples=len(resume) + missing,
            max_concurrent_trials=study.slots,
            search_alg=RecordedSearcher(search),
            scheduler=RecordedScheduler(search, stopped),
        )
        with tempfile.TemporaryDirectory() as folder:  # for Tune's own files, which nobody needs afterwards
            where = Place(
                name="study", storage_path=folder, verbose=0, failure_config=FailureConfig(fail_fast=True)
            )  # fmt: skip
            for error in Tuner(runner, tune_config=how, run_config=where).fit().errors:
                raise error
    _close_stopped(study, record)


def seeded_sampler(seed: int) -> Any:
    """Optuna's TPE, drawing the random numbers of a trial from the search's seed and the trial's number alone."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    class SeededByNumber(optuna.samplers.BaseSampler):
        def __init__(self) -> None:
            self.current: tuple[int, Any] = (-1, None)

        def of(self, trial: Any) -> Any:
            if self.current[0] != trial.number:
                number = 1_000_003 * seed + trial.number
                sampler = optuna.samplers.TPESampler(seed=number, n_startup_trials=STARTUP_TRIALS, multivariate=True)
                self.current = trial.number, sampler
            return self.current[1]

        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            return self.of(trial).infer_relative_search_space(study, trial)

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
            return self.of(trial).sample_relative(study, trial, search_space)

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            return self.of(trial).sample_independent(study, trial, param_name, param_distribution)

    return SeededByNumber()


def _close_stopped(study: Study, record: Record) -> None:
    """Mark the MLflow runs of trials that were stopped, also where a kill came before they could do it themselves."""
    from pipelines import tracking

    for trial in record.trials.values():
        if trial.state == "stopped" and not study.is_trained(trial.weights):
            tracking.finish_run(_mlflow_run_of(study, trial), "KILLED")


def _mlflow_run_of(study: Study, trial: Trial) -> str:
    return storage.read_bytes(storage.join(study.run_uri(trial.weights), "mlflow_run_id")).decode()


def _describe(study: Study, trial: Trial) -> dict[str, Any]:
    """A trial as the study's document holds it."""
    epoch, pq = trial.last
    return {
        "number": trial.number,
        "origin": trial.origin,
        "weights": asdict(trial.weights),
        "log_ratios": trial.point,
        "state": trial.state,
        "epoch": epoch,
        "PQ": pq,
        "results": {str(epochs): value for epochs, value in sorted(trial.results.items())},
        "error": trial.error,
        "run_uri": study.run_uri(trial.weights),
        "mlflow_run_id": _mlflow_run_of(study, trial),
    }


def _confirm(study: Study, compared: dict[str, LossWeights]) -> dict[str, Any]:
    """Train each of the settings with every seed to the end, as many at a time as trials.

    Returns:
        For every setting its weights, mean and standard deviation of PQ; empty when no seeds are asked for.
    """
    import ray

    from pipelines.study.trials import train_again

    seeds = range(study.config.tune.confirm_seeds)
    waiting = [(name, seed) for seed in seeds for name in compared]
    running: dict[Any, tuple[str, int]] = {}
    found: dict[tuple[str, int], float] = {}
    while waiting or running:
        while waiting and len(running) < study.slots:
            name, seed = waiting.pop(0)
            config = study.trial_config(compared[name], seed)
            running[train_again.remote(to_json(config), study.settings())] = name, seed
        (done,), _ = ray.wait(list(running))
        name, seed = running.pop(done)
        found[name, seed] = ray.get(done)
        print(f"{name} λ again · seed {seed} · PQ {found[name, seed]:.1f}", file=sys.stderr, flush=True)
    confirmed = {}
    for name, weights in compared.items() if seeds else ():
        values = [found[name, seed] for seed in seeds]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        confirmed[name] = {"weights": asdict(weights), "PQ": statistics.fmean(values), "sd": spread, "seeds": values}
    return confirmed


def _publish(
    study: Study, trials: list[dict[str, Any]], best: dict[str, Any], confirmed: dict[str, Any]
) -> dict[str, Any]:
    """Write the study's document, its page and the overrides, also into its MLflow run. Returns the result."""
    from pipelines import tracking
    from pipelines.pages.tables import print_trials
    from pipelines.study.page import render_study

    overrides = {f"loss.{name}": value for name, value in best["weights"].items()}
    slice_hash, num_images = validation_slice(study.prepared.uri, study.config.tune.val_images)
    document = {
        "study": study.name,
        "val_slice": slice_hash,
        "val_images": num_images,
        "data_fingerprint": study.prepared.fingerprint,
        "mlflow_run_id": study.mlflow_run_id,
        "trials": trials,
        "best": best,
        "confirmed": confirmed,
        "overrides": overrides,
        "config": to_json(study.config),
    }
    files = {
        "overrides.json": json.dumps(overrides, indent=1) + "\n",
        "study.json": json.dumps(document, indent=1) + "\n",
        "study.html": render_study(document),
    }
    for name, text in files.items():
        storage.write_bytes(storage.join(study.uri, name), text.encode())
    tracking.log_artifacts(study.mlflow_run_id, {name: text.encode() for name, text in files.items()})
    figures = {"best_PQ": best["PQ"]} | {f"{name}_PQ_mean": part["PQ"] for name, part in confirmed.items()}
    tracking.log_evaluation(study.mlflow_run_id, figures)
    print_trials(trials, best["number"], confirmed, study.name)
    return {
        "overrides": storage.join(study.uri, "overrides.json"),
        "trials": len(trials),
        "best": best,
        "confirmed": confirmed,
        "confirm_seeds": study.config.tune.confirm_seeds,
        "study_uri": study.uri,
        "html_uri": storage.join(study.uri, "study.html"),
        "val_slice": slice_hash,
        "mlflow_run_id": study.mlflow_run_id,
    }


def _mlflow_run(config: RunConfig, uri: str, prepared: PreparedData) -> str:
    """The MLflow run of the study: made once, its id kept beside the study."""
    from pipelines import tracking
    from pipelines.overrides import flatten

    place = storage.join(uri, "mlflow_run_id")
    if not storage.exists(place):
        slice_hash, _ = validation_slice(prepared.uri, config.tune.val_images)
        tags = {"data_fingerprint": prepared.fingerprint, "val_slice": slice_hash}
        run = tracking.start_run(uri.rsplit("/", 1)[1], params=flatten(config), tags=tags)
        storage.create_exclusive(place, run.encode())
    return storage.read_bytes(place).decode()
