"""What is probably not meant about a training, in a line each, with the cure. Nothing is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from aunet.errors import InputError
from pipelines.settings.run_config import DataConfig, RunConfig
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


def foreign_name(config: RunConfig, presets: Mapping[str, Callable[[], RunConfig]]) -> Iterator[str]:
    """Where a preset's name in the registry is used for data that are not the preset's.

    Args:
        presets: by their names. One of them is named `config.name`, or all with this name in the registry count.
    """
    asked = [presets[config.name]] if config.name in presets else presets.values()
    known = [made for preset in asked if (made := _made(preset))]
    namesakes = [made for made in known if made.register.model_name == config.register.model_name]
    if namesakes and not any(_has_data_of(config.data, preset.data) for preset in namesakes):
        yield (
            f"register.model_name = {config.register.model_name!r} is that of the preset {namesakes[0].name}, the data "
            "are not its own: models of both would compete for one alias; add --register.model_name NAME, or let "
            "new-preset write a preset for these data"
        )


def _made(preset: Callable[[], RunConfig]) -> RunConfig | None:
    """The preset; None: it is broken, which concerns those who use it."""
    try:
        return preset()
    except InputError:
        return None


def _has_data_of(own: DataConfig, other: DataConfig) -> bool:
    return (own.root, own.train, own.val) == (other.root, other.train, other.val) and (own.shapes is None) == (
        other.shapes is None
    )
