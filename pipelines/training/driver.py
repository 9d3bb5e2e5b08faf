"""The driver of a training run: starts Ray Train, shows and tracks what the workers report, commits the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.train import CheckpointConfig, FailureConfig, RunConfig as RayRunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from aunet.errors import InputError
from pipelines.runtime.cluster import connect, missing_workers, resources
from pipelines.runtime.code_version import code_version
from pipelines.runtime.progress import Console, Event, Stopped, watched_board
from pipelines.settings.overrides import flatten
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.store import storage
from pipelines.store.artifacts import PreparedData, TrainedRun
from pipelines.store.in_use import in_use
from pipelines.store.layout import Store
from pipelines.store.run_folder import RunFolder
from pipelines.tracking import runs as tracking
from pipelines.training.identity import num_steps, run_folder
from pipelines.training.remote import work


def train_run(
    config: RunConfig,
    prepared: PreparedData,
    *,
    parent: str | None = None,
    listeners: Sequence[Callable[[Event], None]] | None = None,
    stop: Callable[[Event], bool] | None = None,
) -> TrainedRun:
    """Train to the end of the plan, from the newest checkpoint of the same run where there is one.

    Args:
        parent: id of the MLflow run that this one belongs to, as a trial to its study.
        listeners: called with every event of the run (see `progress`), in a thread of their own; None: the console.
        stop: asked after every evaluation, with its event, whether to end the run there; the workers wait for it.

    Raises:
        Stopped: `stop` ended the run; the same call continues from the newest checkpoint.
        InputError: the cluster has fewer CPUs or GPUs than the run needs, or the run's list of checkpoints is damaged.
    """
    folder = run_folder(config, prepared)
    if finished := folder.trained():
        return finished
    folder.listed_checkpoints()  # before Ray reads it, and deletes what it names
    if missing := missing_workers(config.train, config.feed, resources()):
        raise InputError(missing)
    connect()
    Store.here().claim()
    folder.write_config(to_json(config))
    tags = {"data_fingerprint": prepared.fingerprint, "code_version": code_version()}
    mlflow_run_id = tracking.run_once(
        folder.mlflow_id_uri, folder.name, params=flatten(config), tags=tags, parent=parent
    )
    tracker = tracking.Tracker(mlflow_run_id)
    status = "FAILED"
    try:
        shown = [Console(f"train {config.name}")] if listeners is None else listeners
        with in_use(folder.in_use_uri), watched_board([*shown, tracker.log_event], stop) as board:
            settings = {
                "config": to_json(config),
                "prepared_uri": prepared.uri,
                "run_uri": folder.uri,
                "board": board,
                "stoppable": stop is not None,
            }
            trainer(config, folder, settings).fit()
            if ray.get(board.stopped.remote()):
                status = "KILLED"
                raise Stopped(f"{folder.uri} was ended early")
        status = "FINISHED"
    finally:
        tracker.close()
        tracking.finish_run(mlflow_run_id, status)
    run = TrainedRun(
        uri=folder.uri,
        fingerprint=folder.name,
        model_uri=folder.model_uri,
        mlflow_run_id=mlflow_run_id,
        steps=num_steps(config, prepared.num_images["train"]),
    )
    folder.finish(run)
    return run


def trainer(
    config: RunConfig, folder: RunFolder, settings: dict[str, Any], work: Callable[[dict[str, Any]], None] = work
) -> TorchTrainer:
    """Ray's trainer of a run.

    Args:
        settings: what `train_worker` receives.
        work: what every worker runs.
    """
    filesystem, path = storage.filesystem(folder.uri)
    return TorchTrainer(
        work,
        train_loop_config=settings,
        scaling_config=ScalingConfig(num_workers=config.train.num_workers, use_gpu=config.train.use_gpu),
        run_config=RayRunConfig(
            name=folder.name,
            storage_path=storage.parent(path),
            storage_filesystem=filesystem if storage.is_remote(folder.uri) else None,
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            failure_config=FailureConfig(max_failures=config.train.max_failures),
        ),
    )
