"""ResNeXt-152 64×4d with deformable convolutions and a non-local block: the backbone of the paper's best row (Table 2).

Its state dict has the names of a plain ResNeXt-152, whose weights it can load; what is added starts as the identity.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import DeformConv2d

from aunet.model.initialization import zero_biases
from aunet.model.norm import NormLayer
from aunet.model.precision import at_least_float32

ADDED = ("offset", "non_local")
"""Modules, as the names of the state dict have them, that a plain ResNeXt-152 lacks."""


class DeformableConv(DeformConv2d):
    """A convolution that reads where its offsets point (Dai et al., 2017); they start at zero, a plain convolution.

    Args:
        plain: the convolution, without bias, that this one replaces; its weights are used.
    """

    def __init__(self, plain: nn.Conv2d) -> None:
        kernel, stride = plain.kernel_size[0], plain.stride[0]
        padding, dilation = int(plain.padding[0]), plain.dilation[0]
        super().__init__(
            plain.in_channels, plain.out_channels, kernel, stride, padding, dilation, plain.groups, bias=False
        )
        self.weight = plain.weight
        self.offset = nn.Conv2d(plain.in_channels, 2 * kernel**2, kernel, stride, padding, dilation)
        nn.init.zeros_(self.offset.weight)
        zero_biases(self.offset)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """In float32 at least, also under autocast: 16 bits are too coarse for offsets, and CPU kernels lack them."""
        exact = at_least_float32(x)
        with torch.autocast("cuda" if x.is_cuda else "cpu", enabled=False):
            return super().forward(exact, self.offset(exact)).to(x.dtype)


class NonLocal(nn.Module):
    """Every position looks at every other (Wang et al., 2018, embedded Gaussian): x + W_z softmax(θᵀφ) g.

    θ, φ and g have half the channels; W_z starts at zero, so that the block starts as the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta, self.phi, self.g = (nn.Conv2d(channels, channels // 2, 1) for _ in range(3))
        self.out = nn.Conv2d(channels // 2, channels, 1)
        nn.init.zeros_(self.out.weight)
        zero_biases(self.out)

    def forward(self, x: Tensor) -> Tensor:
        """`Tensor[N, C, H, W]` → the same shape."""
        query, key, value = (layer(x).flatten(2).transpose(1, 2) for layer in (self.theta, self.phi, self.g))
        attended = F.scaled_dot_product_attention(query, key, value)
        return x + self.out(attended.transpose(1, 2).unflatten(2, x.shape[-2:]))


def resnext152_64x4d_dcn_nl(norm_layer: NormLayer | None) -> ResNet:
    """The network, unpretrained: 3×3 convolutions of conv3 … conv5 deformable, non-local before conv4's last block."""
    resnet = ResNet(Bottleneck, [3, 8, 36, 3], groups=64, width_per_group=4, norm_layer=norm_layer)
    for stage in (resnet.layer2, resnet.layer3, resnet.layer4):
        for block in stage.children():
            assert isinstance(block, Bottleneck)
            block.add_module("conv2", DeformableConv(block.conv2))
    blocks = list(resnet.layer3.named_children())
    blocks.insert(-1, ("non_local", NonLocal(1024)))
    resnet.layer3 = nn.Sequential()
    for name, block in blocks:  # by name: the last block keeps its number
        resnet.layer3.add_module(name, block)
    return resnet
