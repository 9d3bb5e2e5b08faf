"""The name of a training run, which follows from prepared data and settings, and its folder in the store."""

from __future__ import annotations

from pipelines.data.sample_plan import SamplePlan
from pipelines.settings.run_config import RunConfig, fingerprint
from pipelines.store.artifacts import PreparedData
from pipelines.store.layout import Store
from pipelines.store.run_folder import RunFolder


def run_id(config: RunConfig, prepared: PreparedData) -> str:
    """Names the run that a configuration makes of prepared data: what changes the weights changes the name."""
    settings = (config.model, config.augment, config.loss, config.train)
    return f"{config.name}-{fingerprint(prepared.fingerprint, *settings, *filter(None, [config.version]))}"


def run_folder(config: RunConfig, prepared: PreparedData) -> RunFolder:
    """The folder of that run in the store."""
    return Store.here().run(run_id(config, prepared))


def num_steps(config: RunConfig, num_images: int) -> int:
    """Optimiser steps of a whole run over that many training images."""
    train = config.train
    return SamplePlan(num_images, train.batch_size, train.epochs, train.seed).num_steps
