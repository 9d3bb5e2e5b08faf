"""Foreground branch: torchvision's RoI heads, with the mask head's features handed on to mask attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss, maskrcnn_inference

from aunet.config import ForegroundConfig
from aunet.model.norm import NormLayer
from aunet.model.pooling import PyramidPool, cut_masks
from aunet.model.precision import at_least_float32
from aunet.structures import Target


class Instances(NamedTuple):
    """The instances of the foreground branch, and what the background branch needs of them."""

    boxes: list[Tensor]
    """Per image Tensor[k, 4]: final detections, or in training the sampled positive proposals."""
    scores: list[Tensor]
    labels: list[Tensor]
    mask_probs: list[Tensor]
    """Per image Tensor[k, 1, 28, 28] in [0, 1]; these three are empty lists in training."""
    mask_features: dict[int, Tensor]
    """m → Tensor[K, C_m, m, m] for m = 14 (before the deconvolution) and 28 (after it), images concatenated."""
    losses: tuple[Tensor, Tensor] | None
    """L_RCNN and L_Mask of Eq. 7, in training."""


class ForegroundBranch(RoIHeads):
    """Box head and mask head of Mask R-CNN on P2 … P5."""

    box_roi_pool: PyramidPool
    mask_roi_pool: PyramidPool
    mask_head: nn.Module
    mask_predictor: nn.Sequential

    def forward(  # type: ignore[override]
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_sizes: list[tuple[int, int]],
        targets: list[Target] | None = None,
    ) -> Instances:
        if targets is None:
            logits, regression = self.classify(self.box_roi_pool(features, proposals))
            boxes, scores, labels = self.postprocess_detections(logits, regression, proposals, image_sizes)
            mask_features, mask_logits = self.segment(self.mask_roi_pool(features, boxes))
            return Instances(boxes, scores, labels, list(maskrcnn_inference(mask_logits, labels)), mask_features, None)
        proposals, matched, labels, regression_targets = self.select_training_samples(
            proposals, cast(list[dict[str, Tensor]], targets)
        )
        logits, regression = self.classify(self.box_roi_pool(features, proposals))
        class_loss, regression_loss = fastrcnn_loss(logits, regression, labels, regression_targets)
        positive = [torch.where(label > 0)[0] for label in labels]
        boxes = [b[p] for b, p in zip(proposals, positive, strict=True)]
        matched = [m[p] for m, p in zip(matched, positive, strict=True)]
        mask_features, mask_logits = self.segment(self.mask_roi_pool(features, boxes))
        mask_loss = self._mask_loss(mask_logits, boxes, targets, matched)
        return Instances(boxes, [], [], [], mask_features, (class_loss + regression_loss, mask_loss))

    def _mask_loss(self, logits: Tensor, boxes: list[Tensor], targets: list[Target], matched: list[Tensor]) -> Tensor:
        """Binary cross-entropy of the mask of each RoI's own category; 0 with a gradient where there is no RoI."""
        truth = torch.cat(
            [
                cut_masks(target["masks"], own, index, logits.shape[-1], aligned=self.mask_roi_pool.aligned)
                for target, own, index in zip(targets, boxes, matched, strict=True)
            ]
        )
        if not len(truth):
            return logits.sum() * 0
        labels = torch.cat([target["labels"][index] for target, index in zip(targets, matched, strict=True)])
        chosen = torch.arange(len(labels), device=labels.device), labels
        return F.binary_cross_entropy_with_logits(logits[chosen], truth)

    def classify(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits `Tensor[K, T + 1]` and box deltas `[K, 4 (T + 1)]` of RoI features `Tensor[K, C, 7, 7]`."""
        logits, regression = self.box_predictor(self.box_head(pooled))
        return at_least_float32(logits), at_least_float32(regression)

    def segment(self, pooled: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """Mask features by size and mask logits `Tensor[K, T + 1, 28, 28]` of RoI features `Tensor[K, C, 14, 14]`."""
        deconvolution, relu, classifier = self.mask_predictor
        before = self.mask_head(pooled)
        after = relu(deconvolution(before))
        return {m.shape[-1]: m for m in (before, after)}, at_least_float32(classifier(after))


def build_foreground(
    config: ForegroundConfig, channels: int, num_things: int, norm: NormLayer | None
) -> ForegroundBranch:
    """The foreground branch for `num_things` thing categories on an FPN of `channels`."""
    box_size, mask_size, aligned = 7, 14, config.geometry == "exact"
    if config.box_convs:
        convs: Sequence[int] = [channels] * config.box_convs
        box_head: nn.Module = FastRCNNConvFCHead(
            (channels, box_size, box_size), list(convs), [config.box_channels], norm_layer=norm
        )
    else:
        box_head = TwoMLPHead(channels * box_size**2, config.box_channels)
    return ForegroundBranch(
        box_roi_pool=PyramidPool(box_size, aligned=aligned),
        box_head=box_head,
        box_predictor=FastRCNNPredictor(config.box_channels, num_things + 1),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=config.num_samples,
        positive_fraction=config.positive_fraction,
        bbox_reg_weights=None,
        score_thresh=config.score_threshold,
        nms_thresh=config.nms_threshold,
        detections_per_img=config.max_detections,
        mask_roi_pool=PyramidPool(mask_size, aligned=aligned),
        mask_head=MaskRCNNHeads(channels, [config.mask_channels] * config.mask_convs, 1, norm_layer=norm),
        mask_predictor=MaskRCNNPredictor(config.mask_channels, config.mask_channels, num_things + 1),
    )
