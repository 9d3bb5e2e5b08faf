"""Normalisation layers by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

NormLayer = Callable[[int], nn.Module]
"""Builds the normalisation for a number of channels."""

MIN_GROUP = 4
"""Least channels of a group: with one, group norm of a 1×1 map (Eq. 3) would return its bias whatever the input."""


class GroupNorm(nn.GroupNorm):
    """torch's, of which CUDA's autocast makes every map float32; this one keeps the map's number format, as on CPUs,
    and rounds scale and bias to it. Sums are float32 in both."""

    def forward(self, input: Tensor) -> Tensor:
        if not (input.is_cuda and input.dtype in (torch.bfloat16, torch.float16)):
            return super().forward(input)
        with torch.autocast("cuda", enabled=False):
            weight, bias = self.weight.to(input.dtype), self.bias.to(input.dtype)
            return F.group_norm(input, self.num_groups, weight, bias, self.eps)


def group_norm(channels: int) -> GroupNorm:
    """Group normalisation with as many groups, up to 32, as divide `channels` into `MIN_GROUP` or more each."""
    groups = max(g for g in range(1, 33) if channels % g == 0 and (channels // g >= MIN_GROUP or g == 1))
    return GroupNorm(groups, channels)


class FrozenNorm(FrozenBatchNorm2d):
    """torchvision's batch norm that stays as it is, which under autocast makes every map float32; this one keeps the
    map's number format, as detectron2's does. In float32 both give the same bits."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def factors(self, number_format: torch.dtype) -> tuple[Tensor, Tensor]:
        """What a map is multiplied by and what is added, each Tensor[1, C, 1, 1]."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        bias = self.bias - self.running_mean * scale
        return scale.to(number_format).reshape(1, -1, 1, 1), bias.to(number_format).reshape(1, -1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale, bias = self.factors(x.dtype)
        return x * scale + bias


def norm_layer(name: Literal["gn", "bn", "frozen_bn", "none"]) -> NormLayer | None:
    """The constructor that torchvision's `norm_layer` arguments expect; None for `none`."""
    layers: dict[str, NormLayer | None] = {
        "gn": group_norm,
        "bn": nn.BatchNorm2d,
        "frozen_bn": FrozenNorm,
        "none": None,
    }
    return layers[name]
