"""Changes that make one preset of another: rows of the paper's tables, backbones, and a longer recipe of our own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipelines.config import RunConfig

TABLE_1 = {
    "sep": "two separate networks",
    "e2e": "one network, no attention",
    "pam": "PAM",
    "pam_r": "PAM and reweight",
    "mam": "MAM",
    "mam_r": "MAM and reweight",
    "aunet": "PAM, MAM and reweight",
}
"""The rows of Table 1, and what they have."""


def table_1_row(config: RunConfig, row: str) -> RunConfig:
    """A row of Table 1, with no category relations ("no trick" in its merging)."""
    pam, mam = row.startswith(("pam", "aunet")), row.startswith(("mam", "aunet"))
    attention = replace(config.model.attention, pam=pam, mam=mam, reweight=row.endswith(("_r", "aunet")))
    model = replace(config.model, attention=attention, shared_backbone=row != "sep")
    return replace(config, model=model, fusion=replace(config.fusion, relations=()))


def with_backbone(config: RunConfig, name: str, **changes: Any) -> RunConfig:
    """Another backbone, with the given fields of `BackboneConfig`."""
    backbone = replace(config.model.backbone, name=name, **changes)  # type: ignore[arg-type]
    return replace(config, model=replace(config.model, backbone=backbone))


def equal_things(config: RunConfig) -> RunConfig:
    """All things as one category in the background branch (Table 3, "equ")."""
    return replace(config, model=replace(config.model, background=replace(config.model.background, thing_labels="one")))


def multi_scale(config: RunConfig) -> RunConfig:
    """Tested at four scales and mirrored, as the paper's Table 2 is; it does not name its scales."""
    return replace(config, augment=replace(config.augment, test_scales=(0.75, 1.0, 1.25, 1.5), test_flip=True))


def plus(config: RunConfig, *, epochs: int, ema: float, **augment: Any) -> RunConfig:
    """A longer recipe with a cosine and averaged weights, and the given fields of `AugmentConfig`."""
    warmup = dict(warmup_steps=1000, warmup_factor=0.001)
    train = replace(config.train, epochs=epochs, ema=ema, schedule="cosine", decay_norms=False, **warmup)  # type: ignore[arg-type]
    return replace(config, augment=replace(config.augment, **augment), train=train)
