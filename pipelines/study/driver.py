"""The driver of a study: starts Ray Tune, confirms its best trial with several seeds, publishes the result."""

from __future__ import annotations

import _thread
import json
import statistics
import sys
import tempfile
from dataclasses import asdict
from typing import Any

import ray
from ray.tune import FailureConfig, RunConfig as TuneRunConfig, TuneConfig, Tuner, with_parameters, with_resources
from ray.tune.execution import class_cache

from aunet.config import LossWeights
from aunet.errors import Refused
from pipelines.pages.study import render_study
from pipelines.pages.tables import print_trials
from pipelines.runtime.cluster import connect
from pipelines.runtime.growth import halved, make_room, training_bundles
from pipelines.settings.overrides import flatten
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.store import storage
from pipelines.store.artifacts import PreparedData, TunedWeights
from pipelines.store.lease import Held, hold
from pipelines.store.study_folder import StudyFolder
from pipelines.study.record import SearchRecord, Trial, best_of
from pipelines.study.sampler import SeededByNumber
from pipelines.study.search import concurrency, known_points, trial_config, validation_slice
from pipelines.study.searcher import RecordedScheduler, RecordedSearcher, Search, StoppedTrials
from pipelines.study.study import Study
from pipelines.study.trials import DRIVER, run_trial, train_again
from pipelines.tracking import runs as tracking

LEASE_SECONDS = 120.0
"""After which a search whose machine was lost can be continued on another."""


def run_study(config: RunConfig, prepared: PreparedData, folder: StudyFolder) -> TunedWeights:
    """Search, confirm, publish; from where an earlier call was killed.

    Raises:
        Refused: the cluster cannot hold a trial, or not as many at a time as asked for; or another process searches.
        InputError: the loss of every trial diverged.
    """
    connect()
    slots = _slots(config)
    try:
        with hold(folder.lease_uri, LEASE_SECONDS, on_lost=_thread.interrupt_main, patient=True):
            return _run(config, prepared, folder, slots)
    except Held as held:
        raise Refused(f"another `tune` is working on the same study ({held}); let it finish") from None


def _run(config: RunConfig, prepared: PreparedData, folder: StudyFolder, slots: int) -> TunedWeights:
    record = SearchRecord(folder.record_uri)
    storage.write_bytes(folder.config_uri, json.dumps(to_json(config), indent=1).encode())
    slice_hash, _ = validation_slice(prepared.uri, config.tune.val_images)
    tags = {"data_fingerprint": prepared.fingerprint, "val_slice": slice_hash}
    parent = tracking.run_once(folder.mlflow_id_uri, folder.name, params=flatten(config), tags=tags)
    study, status = Study(config, prepared, folder, parent, slots), "FAILED"
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
    return result


def _slots(config: RunConfig) -> int:
    """How many trials run at a time, after the cluster has grown where it can and must.

    Raises:
        Refused: as `concurrency`.
    """
    tune = config.tune
    wanted = tune.max_concurrent or tune.num_trials
    trial = training_bundles(trial_config(config, config.loss).train, config.feed, tune.num_workers)
    try:
        slots = concurrency(config, ray.cluster_resources())
    except Refused:
        slots = 0
    if slots < wanted:
        make_room([trial * number for number in halved(wanted, tune.max_concurrent or 1)])
    return concurrency(config, ray.cluster_resources())


def keep_keys_out_of_trials() -> None:
    """Ray Tune would copy the keys of S3 into command lines and logs of its trials, which find them by themselves."""
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(
        [name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")]
    )


def _search(study: Study, record: SearchRecord) -> None:
    """Train every trial that is not trained yet."""
    keep_keys_out_of_trials()
    settings = study.config.tune
    resume = [
        number
        for number, trial in record.trials.items()
        if trial.state == "running" or (trial.state == "finished" and not study.is_trained(trial.weights))
    ]
    missing = settings.num_trials - len(record.trials)
    if resume or missing:
        known = known_points(study.config.loss, settings.span)
        search = Search(record, settings, known, SeededByNumber(settings.seed), resume)
        stopped: Any = StoppedTrials.remote()
        runner = with_resources(with_parameters(run_trial, settings={**study.settings(), "stopped": stopped}), DRIVER)
        tune_config = TuneConfig(
            num_samples=len(resume) + missing,
            max_concurrent_trials=study.slots,
            reuse_actors=True,
            search_alg=RecordedSearcher(search),
            scheduler=RecordedScheduler(search, stopped),
        )
        with tempfile.TemporaryDirectory() as scratch:  # for Tune's own files, which nobody needs afterwards
            run_config = TuneRunConfig(
                name="study",
                storage_path=scratch,
                verbose=0,
                failure_config=FailureConfig(fail_fast=True),
            )
            for error in Tuner(runner, tune_config=tune_config, run_config=run_config).fit().errors:
                raise error
    _close_stopped(study, record)


def _close_stopped(study: Study, record: SearchRecord) -> None:
    """Mark the MLflow runs of trials that were stopped, also where a kill came before they could do it themselves."""
    for trial in record.trials.values():
        if trial.state == "stopped" and not study.is_trained(trial.weights):
            tracking.finish_run(_mlflow_id(study, trial), "KILLED")


def _mlflow_id(study: Study, trial: Trial) -> str:
    return storage.read_bytes(study.run_folder(trial.weights).mlflow_id_uri).decode()


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
        "run_uri": study.run_folder(trial.weights).uri,
        "mlflow_run_id": _mlflow_id(study, trial),
    }


def _confirm(study: Study, compared: dict[str, LossWeights]) -> dict[str, Any]:
    """Train with each of the weights to the end, once per seed, as many runs at a time as trials.

    Returns:
        By name the weights, and mean and standard deviation of PQ; empty when no seeds are asked for.
    """
    first = study.config.train.seed + 1  # with its own the winner would be the very run that was chosen for its PQ
    seeds = range(first, first + study.config.tune.confirm_seeds)
    waiting = [(name, seed) for seed in seeds for name in compared]
    running: dict[Any, tuple[str, int]] = {}
    quality: dict[tuple[str, int], float] = {}
    while waiting or running:
        while waiting and len(running) < study.slots:
            name, seed = waiting.pop(0)
            config = study.trial_config(compared[name], seed)
            running[train_again.remote(to_json(config), study.settings())] = name, seed
        (done,), _ = ray.wait(list(running))
        name, seed = running.pop(done)
        quality[name, seed] = ray.get(done)
        print(f"{name} λ · seed {seed} · PQ {quality[name, seed]:.1f}", file=sys.stderr, flush=True)
    confirmed = {}
    for name, weights in compared.items() if seeds else ():
        values = [quality[name, seed] for seed in seeds]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        confirmed[name] = {"weights": asdict(weights), "PQ": statistics.fmean(values), "sd": deviation, "seeds": values}
    return confirmed


def _publish(
    study: Study, trials: list[dict[str, Any]], best: dict[str, Any], confirmed: dict[str, Any]
) -> TunedWeights:
    """Write the study's document, its page and the overrides, also into its MLflow run."""
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
    folder = study.folder
    files = {
        folder.overrides_uri: json.dumps(overrides, indent=1) + "\n",
        folder.document_uri: json.dumps(document, indent=1) + "\n",
        folder.html_uri: render_study(document),
    }
    for uri, text in files.items():
        storage.write_bytes(uri, text.encode())
    artifacts = {uri.rpartition("/")[2]: text.encode() for uri, text in files.items()}
    tracking.log_artifacts(study.mlflow_run_id, artifacts)
    figures = {"best_PQ": best["PQ"]} | {f"{name}_PQ_mean": setting["PQ"] for name, setting in confirmed.items()}
    tracking.log_evaluation(study.mlflow_run_id, figures)
    print_trials(trials, best["number"], confirmed, study.name)
    return TunedWeights(
        overrides=folder.overrides_uri,
        trials=len(trials),
        best=best,
        confirmed=confirmed,
        confirm_seeds=study.config.tune.confirm_seeds,
        study_uri=folder.uri,
        html_uri=folder.html_uri,
        val_slice=slice_hash,
        mlflow_run_id=study.mlflow_run_id,
    )
