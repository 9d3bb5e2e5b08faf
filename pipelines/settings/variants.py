"""Changes that derive one preset from another: rows of the paper's tables, backbones, and our own longer recipe."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aunet.config import AugmentConfig, BackboneConfig
from pipelines.settings.run_config import RunConfig

TABLE_1 = {
    "sep": "two separate networks",
    "e2e": "one network, no attention",
    "pam": "PAM",
    "pam_r": "PAM and reweight",
    "mam": "MAM",
    "mam_r": "MAM and reweight",
    "aunet": "PAM, MAM and reweight",
}
"""The rows of Table 1, and what each of them has."""
CONTROLS = {
    "gain": "control: five learned scalars in place of attention",
    "e2e_conv": "control: no attention, one more 3×3 convolution before the classifier",
    "aunet_conv": "beyond the paper: PAM, MAM and reweight, and that convolution",
}
"""Rows that are not in the paper: what part of attention's gain is scale, and what a nonlinearity after it adds."""


def table_1_row(config: RunConfig, row: str) -> RunConfig:
    """A row of Table 1 or a control, named after it, without category relations (Table 1's merging uses "no trick")."""
    pam, mam = row.startswith(("pam", "aunet")), row.startswith(("mam", "aunet"))
    has_reweight = row.endswith("_r") or row.startswith("aunet")
    attention = replace(config.model.attention, pam=pam, mam=mam, reweight=has_reweight, gain=row == "gain")
    background = replace(config.model.background, final_conv=row.endswith("_conv"))
    return replace(
        config,
        name=f"{config.name}_{row}",
        model=replace(config.model, attention=attention, background=background, shared_backbone=row != "sep"),
        fusion=replace(config.fusion, relations=()),
    )


def with_backbone(config: RunConfig, name: str, backbone: BackboneConfig, **train_changes: Any) -> RunConfig:
    """The run `name`: `config` with another backbone, and changes to its training."""
    model, train = replace(config.model, backbone=backbone), replace(config.train, **train_changes)
    return replace(config, name=name, model=model, train=train)


def equal_things(config: RunConfig) -> RunConfig:
    """All things as one category in the background branch (Table 3, "equ")."""
    background = replace(config.model.background, thing_labels="one")
    return replace(config, name=f"{config.name}_equ", model=replace(config.model, background=background))


def multi_scale(config: RunConfig) -> RunConfig:
    """Tested at four scales and mirrored, like the paper's Table 2, which does not name its scales."""
    augment = replace(config.augment, test_scales=(0.75, 1.0, 1.25, 1.5), test_flip=True)
    return replace(config, name=f"{config.name}_ms", augment=augment)


def plus(config: RunConfig, *, epochs: int, ema: float, augment: AugmentConfig) -> RunConfig:
    """A longer recipe with a cosine schedule and averaged weights."""
    train = replace(
        config.train,
        epochs=epochs,
        ema=ema,
        schedule="cosine",
        decay_norms=False,
        warmup_steps=1000,
        warmup_factor=0.001,
    )
    return replace(config, name=f"{config.name}_plus", augment=augment, train=train)
