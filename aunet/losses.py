"""The joint loss, Eq. 7: L = λ1 L_RPN + λ2 L_RCNN + λ3 L_Mask + λ4 L_Seg."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


class LearnedWeights(nn.Module):
    """λ1 … λ4 learned with the network, from the uncertainty of each loss (Kendall, Gal and Cipolla, CVPR 2018).

    L = Σ exp(-s_i) L_i + s_i / 2 over the losses, where s_i is the logarithm of a variance. With losses that stay as
    they are, s_i ends at ln(2 L_i), where the weight of L_i is 1 / (2 L_i) and every loss weighs the same.

    Args:
        start: exp(-s_i) before the first step. A loss with weight 0 stays off.
    """

    def __init__(self, start: LossWeights) -> None:
        super().__init__()
        weights = torch.tensor([getattr(start, name) for name in Losses._fields], dtype=torch.float32)
        self.is_on: Tensor
        self.register_buffer("is_on", weights > 0, persistent=False)
        self.log_variances = nn.Parameter(-weights.where(weights > 0, torch.ones(())).log())

    def forward(self, losses: Losses) -> Tensor:
        """The joint loss, a scalar that can be negative."""
        terms = torch.stack(tuple(losses)).to(self.log_variances)
        return (torch.exp(-self.log_variances) * terms + self.log_variances / 2)[self.is_on].sum()

    def current(self) -> dict[str, float]:
        """The weight of each loss as it is now; waits for the device."""
        weights = torch.exp(-self.log_variances.detach()) * self.is_on
        return dict(zip(Losses._fields, weights.tolist(), strict=True))


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
