"""`train`: prepared data → a run with checkpoints and a model. The same command takes up where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from aunet.errors import InputError
from pipelines import storage
from pipelines.artifacts import PreparedData, TrainedRun
from pipelines.config import RunConfig, fingerprint, to_json

if TYPE_CHECKING:
    from pipelines.progress import Event
    from pipelines.tracking import Tracker

ARTIFACT = "run.json"
"""Written when a run is finished; its presence makes training a no-op."""


def run_id(config: RunConfig, prepared: PreparedData) -> str:
    """Names the run that a configuration makes of prepared data: what changes the weights changes the name."""
    parts = (prepared.fingerprint, config.model, config.augment, config.loss, config.train)
    return f"{config.name}-{fingerprint(*parts, *filter(None, [config.version]))}"


def run_uri(config: RunConfig, prepared: PreparedData) -> str:
    """Where that run lies in the store."""
    return storage.join(storage.store_root(), "runs", run_id(config, prepared))


def load_run(uri: str) -> TrainedRun:
    """The artifact of a finished run.

    Raises:
        InputError: there is no finished run at `uri`.
    """
    artifact = storage.join(uri, ARTIFACT)
    if not storage.exists(artifact):
        raise InputError(f"--run {uri}: no finished run there ({ARTIFACT} is missing); train it first or name another")
    return TrainedRun(**json.loads(storage.read_bytes(artifact)))


def train(
    config: RunConfig,
    *,
    parent: str | None = None,
    listeners: Sequence[Callable[[Event], None]] | None = None,
    stop: Callable[[Event], bool] | None = None,
) -> TrainedRun:
    """Train to the end of the plan, from the newest checkpoint of the same run where there is one.

    Args:
        parent: id of the MLflow run that this one belongs to, as a trial to its study.
        listeners: are shown every event of the run (see `progress`), in a thread of their own; None: the console.
        stop: is asked after every evaluation, with its event, whether to end the run there; the workers wait for it.

    Raises:
        Stopped: `stop` said so; the same call goes on from the newest checkpoint.
        InputError: the data or the configuration is wrong, or the cluster has fewer GPUs than asked for.
    """
    from pipelines.preprocess import preprocess

    prepared = preprocess(config)
    uri = run_uri(config, prepared)
    if storage.exists(storage.join(uri, ARTIFACT)):
        return load_run(uri)

    import ray

    from pipelines import tracking
    from pipelines.cluster import connect, missing_workers, resources
    from pipelines.data.sample_plan import SamplePlan
    from pipelines.progress import Console, Stopped, watched_board

    connect()
    if missing := missing_workers(config.train, config.feed, resources()):
        raise InputError(missing)
    storage.write_bytes(storage.join(uri, "config.json"), json.dumps(to_json(config), indent=1).encode())
    mlflow_run_id = _mlflow_run(config, uri, prepared, parent)
    tracker = tracking.Tracker(mlflow_run_id)
    status = "FAILED"
    try:
        shown = [Console(f"train {config.name}")] if listeners is None else listeners
        with watched_board([*shown, _logger(tracker)], stop) as board:
            settings = {
                "config": to_json(config),
                "prepared_uri": prepared.uri,
                "run_uri": uri,
                "board": board,
                "stoppable": stop is not None,
            }
            _trainer(config, uri, settings).fit()
            if ray.get(board.stopped.remote()):
                status = "KILLED"
                raise Stopped(f"{uri} was ended early")
        status = "FINISHED"
    finally:
        tracker.close()
        tracking.finish_run(mlflow_run_id, status)
    plan = SamplePlan(
        prepared.num_images["train"], config.train.batch_size, config.train.epochs, seed=config.train.seed
    )
    run = TrainedRun(
        uri=uri,
        fingerprint=run_id(config, prepared),
        model_uri=storage.join(uri, "model"),
        mlflow_run_id=mlflow_run_id,
        steps=plan.num_steps,
    )
    storage.write_bytes(storage.join(uri, ARTIFACT), run.to_json().encode())
    return run


def _trainer(config: RunConfig, uri: str, settings: dict[str, Any]) -> Any:
    from ray.train import CheckpointConfig, FailureConfig, RunConfig as RayRunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    filesystem, path = storage.filesystem(uri)
    folder, name = path.rsplit("/", 1)
    return TorchTrainer(
        _work,
        train_loop_config=settings,
        scaling_config=ScalingConfig(num_workers=config.train.num_workers, use_gpu=config.train.use_gpu),
        run_config=RayRunConfig(
            name=name,
            storage_path=folder,
            storage_filesystem=filesystem if "://" in uri else None,
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            failure_config=FailureConfig(max_failures=config.train.max_failures),
        ),
    )


def _work(settings: dict[str, Any]) -> None:
    """The worker's code, imported there: neither the driver nor Ray's controller needs the network."""
    from pipelines.training import train_worker

    train_worker(settings)


def _mlflow_run(config: RunConfig, uri: str, prepared: PreparedData, parent: str | None) -> str:
    """The MLflow run of this training run: made once, its id kept beside the run."""
    from pipelines import tracking
    from pipelines.code_version import code_version
    from pipelines.overrides import flatten

    place = storage.join(uri, "mlflow_run_id")
    if not storage.exists(place):
        tags = {"data_fingerprint": prepared.fingerprint, "code_version": code_version()}
        run = tracking.start_run(run_id(config, prepared), params=flatten(config), tags=tags, parent=parent)
        storage.create_exclusive(place, run.encode())
    return storage.read_bytes(place).decode()


def _logger(tracker: Tracker) -> Any:
    def log(event: dict[str, Any]) -> None:
        if event["kind"] == "failure":
            return
        figures = {k: v for k, v in event.items() if isinstance(v, float | int) and k not in ("step", "steps", "eta_s")}
        tracker.log_metrics(figures, event["step"])

    return log
