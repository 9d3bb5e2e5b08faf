"""The settings with which a model is released, in its folder: another input size or fusion measures another product."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aunet.config import AugmentConfig, FusionConfig
from aunet.config_json import from_json, to_json
from pipelines.settings.run_config import RunConfig
from pipelines.store.run_folder import RunFolder


def released_sections(run: RunFolder) -> tuple[AugmentConfig, FusionConfig]:
    """Input size and fusion of a run's model; of an earlier version with today's defaults for what it does not say.

    Raises:
        InputError: there is no model, or its document is damaged.
    """
    own = run.model_settings()
    augment = from_json(AugmentConfig, own.get("augment"), "augment")
    return augment, from_json(FusionConfig, own.get("fusion"), "fusion")


def as_released(config: RunConfig, run: RunFolder) -> RunConfig:
    """`config` with the input size and the fusion of a run's model.

    Raises:
        InputError: there is no model, or its document is damaged.
    """
    augment, fusion = released_sections(run)
    return replace(config, augment=augment, fusion=fusion)


def inference_settings(augment: AugmentConfig, fusion: FusionConfig) -> dict[str, Any]:
    """What decides on a prediction besides the network, as JSON values by dotted name."""
    sizes = {
        "augment.short_sides": [augment.short_sides[-1]],
        "augment.max_size": augment.max_size,
        "augment.test_scales": [*augment.test_scales],
        "augment.test_flip": augment.test_flip,
    }
    return sizes | {f"fusion.{name}": value for name, value in to_json(fusion).items()}
