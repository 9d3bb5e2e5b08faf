"""`plan`: what `run` would do, what it needs, and what cannot run; nothing is written and no work is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from aunet.errors import InputError, Refused, Unavailable
from pipelines import evaluate, preprocess, train
from pipelines.measuring.gating.namesakes import other_categories
from pipelines.pages.plan_table import show_plan
from pipelines.preprocess import PreprocessOutlook
from pipelines.presets import PRESETS
from pipelines.runtime.cluster import check_address, is_job_server, missing_workers, ray_address, resources
from pipelines.runtime.decoding import few_cpus
from pipelines.runtime.growth import can_grow, to_grow, training_bundles
from pipelines.settings.run_config import RunConfig, fingerprint
from pipelines.store.artifacts import Outlook, TrainedRun, VerbResult
from pipelines.study.search import concurrency, trial_config
from pipelines.tracking.address import check_tracking
from pipelines.training.advice import advice, foreign_name
from pipelines.training.earlier import EarlierRun, earlier_run
from pipelines.training.gpus import GPUS, UTILISATION
from pipelines.training.identity import num_steps, run_folder
from pipelines.training.scaling import (
    NETWORK_GBIT_PER_S,
    NUM_GPUS,
    Interval,
    Scaled,
    batch_product,
    best_interval,
    estimated_saving,
    scaled,
)

if TYPE_CHECKING:
    from aunet.categories import Categories
    from pipelines.training.outlook import Forecast


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan(VerbResult):
    """What `run` would do."""

    stages: list[dict[str, str]]
    """stage, action (run, resume or skip) and why."""
    batch: dict[str, int]
    """What the images of a step multiply to: images of a forward pass × passes over all workers."""
    learning_rate: float
    """After the warm-up."""
    steps: dict[str, int | None]
    """total, left; None: unknown."""
    peak_memory_gb: float | None
    """Per worker: measured in an earlier run of the same network, input and workers, else predicted; None: unknown."""
    hours: float | None
    """Measured, else estimated from the GPU's peak; None: unknown."""
    cost: float | None
    """hours × price, with those that failures cost."""
    scale: list[dict[str, Any]]
    """The training on other numbers of GPUs, see `scaling`; empty: their speed is not known."""
    checkpoints: dict[str, float] | None
    """The best minutes between checkpoints, the goodput then, and the minutes that a failure costs."""
    bytes: dict[str, int | None]
    """Of one checkpoint, of the gradients of a step, and read from the shards in all epochs; None: unknown."""
    refused: list[str]
    """Why it cannot run."""
    resources: dict[str, Any]
    notes: list[str]
    plan_hash: str
    """Equal plans, equal hash."""

    @property
    def exit_code(self) -> int:
        """3 where the plan is refused."""
        return 3 if self.refused else 0


def plan(
    config: RunConfig,
    *,
    price: float | None = None,
    gpu: str | None = None,
    mtbf_hours: float | None = None,
    network_gbit_per_s: float = NETWORK_GBIT_PER_S,
    grows: Callable[[], bool] = can_grow,
) -> Plan:
    """Find out what `run` would do with this configuration.

    Args:
        price: of one hour of the whole cluster, in any currency.
        gpu: one of `GPUS`; None: the one of this machine.
        mtbf_hours: mean time between failures of any of the machines.
        network_gbit_per_s: of each machine.
        grows: whether the cluster that this process is connected to may become larger.

    Raises:
        InputError: an option is not what it should be.
    """
    _check_options(price, gpu, mtbf_hours, network_gbit_per_s)
    refused: list[str] = []
    try:
        check_tracking()
    except InputError as error:
        refused += error.problems
    data = preprocess.outlook(config)
    refused += data.problems
    training = train.outlook(config, data.prepared)
    stages = [data, training, *_later_stages(config, data, refused)]
    available = _resources(refused, grows)
    refused += _obstacles(config, data.num_images, available)
    total = num_steps(config, data.num_images) if data.num_images else None
    left = None if total is None else 0 if training.action == "skip" else total - training.steps_done
    measured = earlier_run(config)
    is_over = training.action == "skip" or data.categories is None
    prediction = None if is_over or data.categories is None else _predict(config, data.categories, gpu, refused)
    refused += filter(None, [other_categories(config.register, data.categories)])
    new_images = data.num_images if training.action == "run" else 0
    warnings = [*advice(config, new_images), *foreign_name(config, PRESETS)]
    notes = [*_describe(config, measured, prediction), *_machines(config, available)]
    notes += map("warning: {}".format, warnings)
    hours = _hours(config, left, measured, prediction)
    interval = _interval(prediction, measured, mtbf_hours)
    cost = None
    if price is not None and hours is not None:
        cost = price * hours / (interval.goodput if interval else 1)
    elif price is not None:
        notes.append("cost: unknown, as the hours are")
    outlooks = [{"stage": stage.stage, "action": stage.action, "why": stage.why} for stage in stages]
    result = Plan(
        stages=outlooks,
        batch=batch_product(config.train),
        learning_rate=config.train.peak_lr,
        steps={"total": total, "left": left},
        peak_memory_gb=measured.memory_gb if measured else prediction.memory.total / 1e9 if prediction else None,
        hours=hours,
        cost=cost,
        scale=[asdict(row) for row in _scale(config, data, measured, prediction, network_gbit_per_s)],
        checkpoints=asdict(interval) if interval else None,
        bytes={
            "checkpoint": prediction.state_bytes if prediction else None,
            "gradients": prediction.gradient_bytes if prediction else None,
            "read": config.train.epochs * data.num_bytes if data.num_bytes else None,
        },
        refused=refused,
        resources=available,
        notes=notes,
        plan_hash=fingerprint(outlooks, config, data.source_fingerprint, available),
    )
    show_plan(config.name, asdict(result))
    return result


def _check_options(price: float | None, gpu: str | None, mtbf_hours: float | None, network: float) -> None:
    if price is not None and not (math.isfinite(price) and price >= 0):
        raise InputError(f"--price = {price}: not the price of an hour; use 0 or more")
    for name, value in (("mtbf-hours", mtbf_hours), ("network-gbit-per-s", network)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"--{name} = {value}: use a number above 0")
    if gpu is not None and gpu not in GPUS:
        raise InputError(f"--gpu {gpu!r:.60}: not known; use one of {', '.join(map(repr, GPUS))}")


def _predict(config: RunConfig, categories: Categories, gpu: str | None, refused: list[str]) -> Forecast:
    from pipelines.training.outlook import predict, too_large  # torch takes seconds to import

    prediction = predict(config, categories, gpu)
    refused += filter(None, [too_large(config, prediction)])
    return prediction


def _hours(
    config: RunConfig, left: int | None, measured: EarlierRun | None, prediction: Forecast | None
) -> float | None:
    """Of the training that is left; None: unknown."""
    if left is None or left == 0:
        return None if left is None else 0.0
    if measured:
        return left * config.train.batch_size / measured.images_per_s / 3600
    return left * prediction.step_s / 3600 if prediction and prediction.step_s else None


def _interval(prediction: Forecast | None, measured: EarlierRun | None, mtbf_hours: float | None) -> Interval | None:
    if prediction is None or mtbf_hours is None:
        return None
    size = prediction.state_bytes
    return best_interval(measured.saving(size) if measured else estimated_saving(size), mtbf_hours)


def _scale(
    config: RunConfig,
    data: PreprocessOutlook,
    measured: EarlierRun | None,
    prediction: Forecast | None,
    network_gbit_per_s: float,
) -> Iterator[Scaled]:
    """The training on other numbers of GPUs; nothing where their speed is not known."""
    train = config.train
    step_s = train.batch_size / measured.images_per_s if measured else prediction.step_s if prediction else None
    if not train.use_gpu or prediction is None or step_s is None:
        return
    images, total = train.batch_size // train.max_workers, train.epochs * data.num_images or None
    for gpus in NUM_GPUS:
        yield scaled(gpus, prediction.gradient_bytes, step_s, images, total, network_gbit_per_s)


def _later_stages(config: RunConfig, data: PreprocessOutlook, refused: list[str]) -> list[Outlook]:
    """What comes after the training."""
    run = run_folder(config, data.prepared).trained() if data.prepared else None
    evaluation = evaluate.outlook(config, run, data.prepared)
    return [evaluation, _registration(config, run, evaluation, refused)]


def _registration(config: RunConfig, run: TrainedRun | None, evaluation: Outlook, refused: list[str]) -> Outlook:
    if run is None or evaluation.action != "skip":
        return Outlook(stage="register", action="run", why="there is no report yet")
    from pipelines import register  # MLflow takes seconds to import: only where there is something to ask

    try:
        return register.outlook(config, run, evaluate.find_report(run))
    except Unavailable as error:
        refused.append(str(error))
        return Outlook(stage="register", action="run", why="MLflow does not answer")


def _resources(refused: list[str], grows: Callable[[], bool]) -> dict[str, Any]:
    where = "RAY_ADDRESS"
    try:
        where = ray_address() or "this machine"
        if is_job_server(where):
            check_address(where)
            return {"where": where}  # what it has is asked for by the job, on the cluster
        return {"where": where, **resources(), **({"grows": True} if grows() else {})}
    except (InputError, Unavailable) as error:
        refused.append(str(error))
        return {"where": where}


def _obstacles(config: RunConfig, num_images: int, available: dict[str, Any]) -> Iterator[str]:
    """Why the configuration cannot run on these resources, or with that many training images (0: unknown)."""
    train = config.train
    if "CPU" in available and "grows" not in available:
        if missing := missing_workers(train, config.feed, available):
            yield missing
        try:
            concurrency(config, available)
        except Refused as refusal:
            yield f"tune: {refusal}"
    if num_images and train.batch_size > num_images * train.epochs:
        yield (
            f"train.batch_size = {train.batch_size}: {num_images} images × {train.epochs} epochs do not fill one "
            "batch; use a smaller batch or more epochs"
        )


def _machines(config: RunConfig, available: dict[str, Any]) -> Iterator[str]:
    """Where there are few CPUs beside the GPUs, and to what a cluster that grows would have to grow."""
    train, feed, tune = config.train, config.feed, config.tune
    if is_job_server(available["where"]):
        yield "CPUs and GPUs: not compared with what the cluster has; the job does that when it starts"
    if available.get("GPU") and (short := few_cpus(train, feed, train.max_workers, available["CPU"], "there are")):
        yield short
    if "grows" in available:
        trial = training_bundles(trial_config(config, config.loss).train, feed, tune.num_workers)
        wanted = {
            "train": training_bundles(train, feed, train.max_workers),
            "tune": trial * max(1, tune.max_concurrent),
        }
        yield from (f"{verb}: {text}" for verb, bundles in wanted.items() if (text := to_grow(bundles, available)))


def _describe(config: RunConfig, measured: EarlierRun | None, prediction: Forecast | None) -> Iterator[str]:
    """Where the figures come from, and what is not known."""
    if config.train.base_batch_size is not None:
        train = config.train
        yield (
            f"learning rate: {train.lr:g} × {train.batch_size} / {train.base_batch_size} = {train.peak_lr:g}, after "
            f"{train.warmup_steps} steps of warm-up"
        )
    if measured:
        yield (
            f"hours and memory: as measured in {measured.name}: {measured.images_per_s:.1f} images per second; hours "
            "are those of training alone"
        )
    if prediction is None:
        if not measured:
            yield "hours and memory: unknown, no earlier run of this network, input and workers in the store"
        return
    if not measured:
        hours = f"hours: estimated, a GPU at {UTILISATION:.0%} of its peak" if prediction.step_s else "hours: unknown"
        yield f"{hours}, no earlier run of this network, input and workers in the store"
        yield f"memory: predicted, {prediction.memory.arithmetic}"
    if config.train.use_gpu and prediction.gpu is None:
        yield "memory of the GPUs: unknown, so it is not checked; name them with --gpu"
    from pipelines.training.outlook import sharding

    yield sharding(prediction)
