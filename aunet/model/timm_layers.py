"""Layers that take the place of timm's: the same numbers in float32, in less time or in a form that can be exported."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aunet.model.norm import FrozenNorm


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


class FrozenNormAct(FrozenNorm):
    """A batch norm that stays as it is, and the activation that timm lets it have: one pass over the map, in its number
    format. Timm multiplies, then adds, and autocast makes both float32.

    Args:
        plain: the batch norm; its statistics and weights are used.
    """

    def __init__(self, plain: nn.BatchNorm2d) -> None:
        super().__init__(plain.num_features, plain.eps)
        for name, own in self.named_buffers():
            given = getattr(plain, name)
            setattr(self, name, own if given is None else given.detach())
        self.drop = getattr(plain, "drop", nn.Identity())
        self.act = getattr(plain, "act", nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        scale, bias = self.factors(x.dtype)
        return self.act(self.drop(torch.addcmul(bias, x, scale)))


def _is_depthwise(convolution: nn.Conv2d) -> bool:
    return 1 < convolution.groups == convolution.in_channels
