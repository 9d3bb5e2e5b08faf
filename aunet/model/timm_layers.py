"""Layers that take the place of timm's: the same numbers in float32, in less time or in a form that can be exported."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def replace_layers(network: nn.Module, timm: Any, *, freeze_norms: bool) -> None:
    """Put the layers of this file in the place of those that they are for.

    Args:
        network: of timm; its weights are used.
        timm: the library.
        freeze_norms: batch norms no longer follow their batches, and are not trained.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            same = isinstance(child, timm.layers.Conv2dSame)
            if isinstance(child, nn.Conv2d) and (same or (type(child) is nn.Conv2d and _is_depthwise(child))):
                setattr(parent, name, BackboneConv(child, same=same))
            elif freeze_norms and isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, FrozenNormAct(child))


class BackboneConv(nn.Conv2d):
    """A convolution as timm has it, but for two things.

    TensorFlow's padding is constant, as it is on a map whose sides the stride divides: timm computes it anew from the
    size of each map, which torch.export follows for many minutes.

    A depthwise convolution computes in float32 on CPUs, whatever autocast says: the gradients of those in bf16 take
    oneDNN several times as long (docs/model.md).

    Args:
        plain: the convolution that this one replaces; its weights are used.
        same: whether it pads as TensorFlow does.
    """

    def __init__(self, plain: nn.Conv2d, *, same: bool) -> None:
        super().__init__(
            plain.in_channels,
            plain.out_channels,
            (plain.kernel_size[0], plain.kernel_size[1]),
            (plain.stride[0], plain.stride[1]),
            padding=0 if same else plain.padding,  # pyright: ignore[reportArgumentType]
            dilation=(plain.dilation[0], plain.dilation[1]),
            groups=plain.groups,
            bias=plain.bias is not None,
            padding_mode=plain.padding_mode,
        )
        self.weight, self.bias = plain.weight, plain.bias
        self.border: list[int] = []
        """Pixels that are added: left, right, top, bottom."""
        for axis in (1, 0) if same else ():
            total = max(plain.dilation[axis] * (plain.kernel_size[axis] - 1) + 1 - plain.stride[axis], 0)
            self.border += [total // 2, total - total // 2]

    def forward(self, input: Tensor) -> Tensor:
        if self.border:
            input = F.pad(input, self.border)
        if not (_is_depthwise(self) and input.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float())


class FrozenNormAct(nn.Module):
    """A batch norm that stays as it is, and the activation that timm lets it have.

    One pass over the map, in its number format. Timm multiplies, then adds, and autocast makes both float32.

    Args:
        plain: the batch norm; its statistics and weights are used.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, plain: nn.BatchNorm2d) -> None:
        super().__init__()
        self.eps = plain.eps
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            given = getattr(plain, name)
            self.register_buffer(name, torch.full((plain.num_features,), value) if given is None else given.detach())
        self.drop = getattr(plain, "drop", nn.Identity())
        self.act = getattr(plain, "act", nn.Identity())

    def forward(self, input: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        bias = self.bias - self.running_mean * scale
        scale, bias = (values.to(input.dtype).reshape(1, -1, 1, 1) for values in (scale, bias))
        return self.act(self.drop(torch.addcmul(bias, input, scale)))


def _is_depthwise(convolution: nn.Conv2d) -> bool:
    return 1 < convolution.groups == convolution.in_channels
