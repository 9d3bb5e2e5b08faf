"""What is probably not meant about a training, in a line each, with the cure. Nothing is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipelines.settings.run_config import RunConfig
from pipelines.training.identity import num_steps

LONG_SHARE = 3
"""A warm-up of more than one step in so many is long."""
USUAL_SHARE = 10


def advice(config: RunConfig, num_images: int) -> Iterator[str]:
    """What to look at before a training over that many images; 0: unknown."""
    if not num_images:
        return
    warmup, steps = config.train.warmup_steps, num_steps(config, num_images)
    cure = f"use --train.warmup_steps {steps // USUAL_SHARE}, or more epochs"
    if warmup >= steps:
        yield (
            f"train.warmup_steps = {warmup}: the run has {steps} steps, so the learning rate never reaches train.lr; "
            f"{cure}"
        )
    elif warmup * LONG_SHARE > steps:
        yield f"train.warmup_steps = {warmup}: {warmup / steps:.0%} of the run's {steps} steps; {cure}"


def foreign_name(config: RunConfig, base: Callable[[], RunConfig] | None) -> Iterator[str]:
    """Where a preset's name in the registry is used for data that are not the preset's.

    Args:
        base: the preset that `config` was made from; None: unknown.
    """
    preset = config if base is None else base()
    if config.register.model_name != preset.register.model_name:
        return
    own, others = config.data, preset.data
    if (own.root, own.train, own.val) != (others.root, others.train, others.val) or (own.shapes is None) != (
        others.shapes is None
    ):
        yield (
            f"register.model_name = {config.register.model_name!r} is that of the preset {preset.name}, the data are "
            "not its own: models of both would compete for one alias; add --register.model_name NAME, or let "
            "new-preset write a preset for these data"
        )
