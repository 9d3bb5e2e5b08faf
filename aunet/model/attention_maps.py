"""M' of PAM and MAM (Figure 6), from the network's output to maps at the size of the original image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aunet.model.aunet import Output


@dataclass(frozen=True)
class AttentionView:
    """M' of one image from one pass of the network: small, and a copy of its own."""

    maps: dict[str, Tensor]
    """`pam2` … `pam5` and `mam`, each Tensor[1, 1, h_i, w_i] float32: the cells that the image touches."""
    strides: dict[str, int]
    """Pixels of the network's input per cell."""
    image_size: tuple[int, int]
    """(height, width) of the image in the network's input, without padding."""
    flip: bool
    """Whether the network saw the image mirrored."""

    def resized(self, name: str, size: tuple[int, int]) -> Tensor:
        """One map, Tensor[*size] float32 in [0, 1], bilinear, mirrored back, without the padding."""
        stride, (height, width) = self.strides[name], self.image_size
        padded = F.interpolate(self.maps[name], scale_factor=stride, mode="bilinear", align_corners=False)
        image = F.interpolate(padded[..., :height, :width], size=size, mode="bilinear", align_corners=False)[0, 0]
        return image.flip(-1) if self.flip else image


def attention_views(
    output: Output, input_size: tuple[int, int], image_sizes: Sequence[tuple[int, int]], *, flip: bool
) -> list[AttentionView]:
    """The attention of each image of a batch.

    Args:
        input_size: (H, W) of the padded batch.
        image_sizes: (height, width) of each image inside it.
        flip: whether the images are mirrored.
    """
    attention = output.semantic.attention
    strides = {name: input_size[0] // m.shape[2] for name, m in attention.items()}
    return [
        AttentionView(
            {
                name: m[n : n + 1, :, : -(-height // strides[name]), : -(-width // strides[name])].float().clone()
                for name, m in attention.items()
            },
            strides,
            (height, width),
            flip,
        )
        for n, (height, width) in enumerate(image_sizes)
    ]


def merge_attention(views: Sequence[AttentionView], size: tuple[int, int]) -> dict[str, Tensor]:
    """The mean of several views of one image, each map Tensor[*size] float32 in [0, 1]; empty without attention."""
    names = views[0].maps if views else ()
    return {name: torch.stack([view.resized(name, size) for view in views]).mean(0) for name in names}
