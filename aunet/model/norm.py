"""Normalisation layers by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn
from torchvision.ops import FrozenBatchNorm2d

NormLayer = Callable[[int], nn.Module]
"""Builds the normalisation for a number of channels."""

MIN_GROUP = 4
"""Least channels of a group: with one, group norm of a 1×1 map (Eq. 3) would return its bias whatever the input."""


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with as many groups, up to 32, as divide `channels` into `MIN_GROUP` or more each."""
    groups = max(g for g in range(1, 33) if channels % g == 0 and (channels // g >= MIN_GROUP or g == 1))
    return nn.GroupNorm(groups, channels)


def norm_layer(name: Literal["gn", "bn", "frozen_bn", "none"]) -> NormLayer | None:
    """The constructor that torchvision's `norm_layer` arguments expect; None for `none`."""
    layers: dict[str, NormLayer | None] = {
        "gn": group_norm,
        "bn": nn.BatchNorm2d,
        "frozen_bn": FrozenBatchNorm2d,
        "none": None,
    }
    return layers[name]
