"""RoIAlign on the levels of the feature pyramid, and on ground-truth masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from aunet.model.levels import LEVELS, MIN_LEVEL
from aunet_ops import assign_levels

SAMPLES = 2
"""Points per side of a bin in which RoIAlign reads the features."""


class PyramidPool(nn.Module):
    """RoIAlign of each box at its level (FPN, Eq. 1): torchvision's `MultiScaleRoIAlign`, with its number of samples.

    Args:
        size: m, bins per side.
        aligned: pixel centres lie at halves, as box coordinates have them; False: at whole numbers, as in torchvision.
    """

    def __init__(self, size: int, *, aligned: bool) -> None:
        super().__init__()
        self.size, self.aligned = size, aligned

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor]) -> Tensor:
        """Features of all boxes, `Tensor[K, C, m, m]`; written so that torch.export can follow it.

        Args:
            features: by level, Tensor[N, C, H_i, W_i]; those of P2 … P5 are read.
            boxes: per image Tensor[k, 4] in pixels of the input.
        """
        rois = torch.cat([F.pad(own, (1, 0), value=number) for number, own in enumerate(boxes)])
        levels = assign_levels(rois, MIN_LEVEL, MIN_LEVEL + len(LEVELS) - 1)
        finest = features[LEVELS[0]]
        pooled = finest.new_zeros((rois.shape[0], finest.shape[1], self.size, self.size))
        for level, name in enumerate(LEVELS, start=MIN_LEVEL):
            (on_level,) = (levels == level).nonzero(as_tuple=True)
            read = roi_align(
                features[name], rois[on_level], self.size, 2.0**-level, sampling_ratio=SAMPLES, aligned=self.aligned
            )
            pooled.index_copy_(0, on_level, read.to(pooled.dtype))
        return pooled


def cut_masks(masks: Tensor, boxes: Tensor, matched: Tensor, size: int, *, aligned: bool) -> Tensor:
    """What the mask head should say: the share of each of its cells that belongs to the thing.

    Args:
        masks: Tensor[n, H, W], 0 or 1.
        boxes: Tensor[k, 4] in pixels of the masks.
        matched: Tensor[k] int64, the mask that belongs to each box.
        size: m, cells per side.
        aligned: as in `PyramidPool`.

    Returns:
        Tensor[k, m, m] in [0, 1], of the boxes' type.
    """
    rois = torch.cat([matched[:, None].to(boxes.dtype), boxes], dim=1)
    return roi_align(masks[:, None].to(boxes.dtype), rois, size, 1.0, aligned=aligned)[:, 0]
