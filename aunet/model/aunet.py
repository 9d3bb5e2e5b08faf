"""The Attention-guided Unified Network: one backbone, three branches, attention from foreground to background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from aunet.categories import VOID
from aunet.losses import Losses, semantic_loss
from aunet.model.backbone import IMAGENET, Normalization
from aunet.model.background import BackgroundBranch, SemanticOutput
from aunet.model.foreground import ForegroundBranch, Instances
from aunet.model.levels import LEVELS
from aunet.model.rpn import ProposalNetwork
from aunet.structures import Batch, Target


class Output(NamedTuple):
    """The predictions for a batch, in pixels of its padded input."""

    instances: Instances
    semantic: SemanticOutput


class AUNet(nn.Module):
    """AUNet (Figure 2).

    Args:
        backbone: images → {"0": P2, …, "3": P5, "pool": P6}.
        rpn: RPN branch.
        foreground: box and mask heads.
        background: semantic head with PAM and MAM.
        background_backbone: features P2 … P5 for the background branch alone; None: it shares `backbone`.
        mask_size: m of the mask features that MAM reads, 14 or 28.
        hard_pixels: share of the hardest pixels that the semantic loss averages.
        normalization: mean and deviation of red, green and blue, 0 … 1, that the backbones expect taken out.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        rpn: ProposalNetwork,
        foreground: ForegroundBranch,
        background: BackgroundBranch,
        mask_size: int = 28,
        hard_pixels: float = 1.0,
        background_backbone: nn.Module | None = None,
        normalization: Normalization = IMAGENET,
    ) -> None:
        super().__init__()
        self.background_backbone = background_backbone
        self.backbone, self.rpn, self.foreground, self.background = backbone, rpn, foreground, background
        self.mask_size, self.hard_pixels = mask_size, hard_pixels
        for name, shares in zip(("pixel_mean", "pixel_std"), normalization, strict=True):
            pixels = np.float32(255) * np.array(shares, np.float32)
            self.register_buffer(name, torch.tensor(pixels).view(3, 1, 1), persistent=False)

    def forward(self, batch: Batch, *, guided: bool = True) -> Losses | Output:
        """In training mode the four losses of Eq. 7, else the predictions.

        Args:
            batch: images `Tensor[N, 3, H, W]` uint8 RGB, padded to multiples of 32, with their sizes; targets are
                needed in training only.
            guided: see `BackgroundBranch.forward`.
        """
        images = self.normalize(batch.images)
        targets = batch.targets if self.training else None
        features: dict[str, Tensor] = self.backbone(images)
        proposals = self.rpn(ImageList(images, batch.image_sizes), features, targets)
        instances = self.foreground(features, proposals.boxes, batch.image_sizes, targets)
        semantic = self.label(
            images,
            features,
            proposals.features,
            instances.mask_features,
            instances.boxes,
            torch.cat(instances.scores) if targets is None else None,
            guided=guided,
        )
        if targets is None:
            return Output(instances, semantic)
        assert proposals.loss is not None and instances.losses is not None
        labels = stack_semantic(targets, (images.shape[2], images.shape[3]))
        box, mask = instances.losses
        return Losses(proposals.loss, box, mask, semantic_loss(semantic.logits, labels, self.hard_pixels))

    def normalize(self, images: Tensor) -> Tensor:
        """`Tensor[N, 3, H, W]` uint8 RGB as the backbones expect it: float, mean and deviation taken out."""
        images = (images - self.pixel_mean) / self.pixel_std
        return images.contiguous(memory_format=torch.channels_last)

    def label(
        self,
        images: Tensor,
        features: dict[str, Tensor],
        proposal_features: Sequence[Tensor],
        mask_features: dict[int, Tensor],
        boxes: list[Tensor],
        scores: Tensor | None = None,
        *,
        guided: bool = True,
    ) -> SemanticOutput:
        """The background branch on what the other two know.

        Args:
            images: from `normalize`.
            features: from `backbone`, by level.
            proposal_features: P_i of Eq. 1, per level from P2 on.
            mask_features: m → Tensor[K, C_m, m, m], as in `Instances`.
            boxes: per image Tensor[k, 4], those of the masks.
            scores: Tensor[K], where they are detections.
            guided: see `BackgroundBranch.forward`.
        """
        if self.background_backbone is not None:
            features = self.background_backbone(images)
        return self.background(
            [features[level] for level in LEVELS],
            proposal_features[: len(LEVELS)],
            mask_features[self.mask_size],
            as_rois(boxes),
            scores,
            guided=guided,
        )

    def compile(self, *args: Any, dynamic: bool = True, **kwargs: Any) -> None:
        """torch.compile, in place, of the modules that see whole images: backbones, RPN head and background branch.

        Between them, torchvision asks in Python how many boxes there are; that code stays uncompiled. Names of
        parameters do not change, and copies are not compiled.

        Args:
            dynamic: compile once for any size of images and number of RoIs; a few special cases, such as no RoI at
                all, are compiled separately.
            *args: see `torch.compile`.
            **kwargs: see `torch.compile`.
        """
        for module in (self.backbone, self.background_backbone, self.rpn.head, self.background):
            if module is not None:
                module.compile(*args, dynamic=dynamic, **kwargs)


def as_rois(boxes: list[Tensor]) -> Tensor:
    """Boxes per image as one `Tensor[K, 5]` of (image index, x1, y1, x2, y2), float32."""
    return torch.cat([F.pad(b.float(), (1, 0), value=n) for n, b in enumerate(boxes)])


def stack_semantic(targets: list[Target], size: tuple[int, int]) -> Tensor:
    """The semantic maps as one `Tensor[N, H, W]`, padded with `VOID`."""
    maps = [t["semantic"] for t in targets]
    return torch.stack([F.pad(m, (0, size[1] - m.shape[1], 0, size[0] - m.shape[0]), value=VOID) for m in maps])
