"""`train`: prepared data → a run with checkpoints and a model. The same command takes up where it was stopped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aunet.errors import InputError
from pipelines import storage
from pipelines.artifacts import PreparedData, TrainedRun
from pipelines.config import RunConfig, fingerprint, to_json

if TYPE_CHECKING:
    from pipelines.tracking import Tracker

ARTIFACT = "run.json"
"""Written when a run is finished; its presence makes training a no-op."""


def run_id(config: RunConfig, prepared: PreparedData) -> str:
    """Names the run that a configuration makes of prepared data: what changes the weights changes the name."""
    parts = (prepared.fingerprint, config.model, config.augment, config.loss, config.train)
    return f"{config.name}-{fingerprint(*parts)}"


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


def train(config: RunConfig) -> TrainedRun:
    """Train to the end of the plan, from the newest checkpoint of the same run where there is one.

    Raises:
        InputError: the data or the configuration is wrong, or the cluster has fewer GPUs than asked for.
    """
    from pipelines.preprocess import preprocess

    prepared = preprocess(config)
    uri = run_uri(config, prepared)
    if storage.exists(storage.join(uri, ARTIFACT)):
        return load_run(uri)

    from pipelines import tracking
    from pipelines.cluster import connect
    from pipelines.ingest import SamplePlan
    from pipelines.progress import Console, watched_board

    connect()
    _check_resources(config)
    storage.write_bytes(storage.join(uri, "config.json"), json.dumps(to_json(config), indent=1).encode())
    mlflow_run_id = _mlflow_run(config, uri, prepared)
    tracker = tracking.Tracker(mlflow_run_id)
    status = "FAILED"
    try:
        with watched_board([Console(f"train {config.name}"), _logger(tracker)]) as board:
            settings = {"config": to_json(config), "prepared_uri": prepared.uri, "run_uri": uri, "board": board}
            _trainer(config, uri, settings).fit()
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

    from pipelines.training import train_worker

    filesystem, path = storage.filesystem(uri)
    folder, name = path.rsplit("/", 1)
    return TorchTrainer(
        train_worker,
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


def _check_resources(config: RunConfig) -> None:
    import ray

    kind = "GPU" if config.train.use_gpu else "CPU"
    there = int(ray.cluster_resources().get(kind, 0))
    if there < config.train.num_workers:
        cure = " or --train.use_gpu False" if config.train.use_gpu else ""
        raise InputError(
            f"train.num_workers = {config.train.num_workers} with one {kind} each, but the cluster has {there}; "
            f"take --train.num_workers {max(there, 1)}{cure}, or a larger cluster"
        )


def _mlflow_run(config: RunConfig, uri: str, prepared: PreparedData) -> str:
    """The MLflow run of this training run: made once, its id kept beside the run."""
    from pipelines import tracking
    from pipelines.overrides import flatten

    place = storage.join(uri, "mlflow_run_id")
    if not storage.exists(place):
        run = tracking.start_run(
            run_id(config, prepared), params=flatten(config), tags={"data_fingerprint": prepared.fingerprint}
        )
        storage.create_exclusive(place, run.encode())
    return storage.read_bytes(place).decode()


def _logger(tracker: Tracker) -> Any:
    def log(event: dict[str, Any]) -> None:
        if event["kind"] == "failure":
            return
        figures = {k: v for k, v in event.items() if isinstance(v, float | int) and k not in ("step", "steps", "eta_s")}
        tracker.log_metrics(figures, event["step"])

    return log
