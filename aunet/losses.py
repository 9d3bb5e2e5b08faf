"""The joint loss, Eq. 7: L = λ1 L_RPN + λ2 L_RCNN + λ3 L_Mask + λ4 L_Seg."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from aunet.categories import VOID
from aunet.config import LossWeights


class Losses(NamedTuple):
    """The four terms of Eq. 7, unweighted scalars."""

    rpn: Tensor
    box: Tensor
    mask: Tensor
    semantic: Tensor

    def total(self, weights: LossWeights) -> Tensor:
        """Eq. 7."""
        return (
            weights.rpn * self.rpn
            + weights.box * self.box
            + weights.mask * self.mask
            + weights.semantic * self.semantic
        )


def semantic_loss(logits: Tensor, labels: Tensor, hard_pixels: float = 1.0) -> Tensor:
    """Mean cross-entropy over labelled pixels; 0 with a gradient where no pixel is labelled.

    Args:
        logits: Tensor[N, S, h, w] at any stride; upsampled bilinearly to the labels.
        labels: Tensor[N, H, W] int64, `VOID` is ignored.
        hard_pixels: share of all pixels, those with the highest loss, that the mean runs over.
    """
    logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    count = (labels != VOID).sum()
    if hard_pixels == 1:
        return F.cross_entropy(logits, labels, ignore_index=VOID, reduction="sum") / count.clamp(min=1)
    losses = F.cross_entropy(logits, labels, ignore_index=VOID, reduction="none").flatten()
    kept = max(1, int(hard_pixels * losses.numel()))
    return losses.topk(kept, sorted=False).values.sum() / count.clamp(min=1, max=kept)
