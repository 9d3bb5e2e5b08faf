"""The name of a training run, which follows from prepared data and settings, and its folder in the store."""

from __future__ import annotations

from pipelines.data.sample_plan import SamplePlan
from pipelines.settings.run_config import RunConfig, fingerprint, to_json
from pipelines.store.artifacts import PreparedData
from pipelines.store.layout import Store
from pipelines.store.run_folder import RunFolder

OPERATION = (
    "num_workers",
    "micro_batch_size",
    "checkpoint_every",
    "checkpoint_minutes",
    "keep_last",
    "keep_every",
    "validate",
    "max_failures",
    "hang_seconds",
    "when_running",
    "profile",
)
"""Settings of a training that say how it is run, not what it computes."""
EVALUATION = ("evaluate_every", "val_images")
"""Settings that change the result only where the run's end or its release go by PQ."""


def run_id(config: RunConfig, prepared: PreparedData) -> str:
    """Names the run that a configuration makes of prepared data: what changes the weights changes the name.

    The number of workers does not, as long as they share the same micro-batches; but it does where batch norm collects
    statistics, which are those of the micro-batches of rank 0.
    """
    train, ignored = config.train, {*OPERATION, "base_batch_size"}  # of which only `peak_lr` counts
    if not train.patience and train.release == "last":
        ignored |= set(EVALUATION)
    computed = {name: value for name, value in to_json(train).items() if name not in ignored}
    computed |= {"micro_batches": train.micro_batches, "lr": train.peak_lr}
    if config.model.backbone.norm == "bn":
        computed["num_workers"] = train.num_workers
    settings = (config.model, config.augment, config.loss, computed)
    return f"{config.name}-{fingerprint(prepared.fingerprint, *settings, *filter(None, [config.version]))}"


def run_folder(config: RunConfig, prepared: PreparedData) -> RunFolder:
    """The folder of that run in the store."""
    return Store.here().run(run_id(config, prepared))


def plan_of(config: RunConfig, num_images: int) -> SamplePlan:
    """The steps of a whole run over that many training images; not the order of the images."""
    train = config.train
    return SamplePlan(num_images, train.batch_size, train.epochs, train.seed)


def num_steps(config: RunConfig, num_images: int) -> int:
    """Optimiser steps of a whole run over that many training images."""
    return plan_of(config, num_images).num_steps
