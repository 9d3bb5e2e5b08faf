"""From the network's output to predictions at the size of the original image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from aunet.model.aunet import Output
from aunet.structures import Detections, Prediction


def to_predictions(
    output: Output, input_size: tuple[int, int], image_sizes: list[tuple[int, int]], original_sizes: list[tuple[int, int]]
) -> list[Prediction]:
    """Undo padding and resizing.

    Args:
        input_size: (H, W) of the padded batch.
        image_sizes: (height, width) of each image inside it.
        original_sizes: (height, width) each image had before it was resized; predictions come in this size.
    """
    logits = F.interpolate(output.scene.logits, size=input_size, mode="bilinear", align_corners=False)
    instances = output.instances
    return [
        Prediction(
            detections=_detections(
                instances.boxes[n], instances.scores[n], instances.labels[n], instances.mask_probs[n], size, original
            ),
            semantic_logits=F.interpolate(
                logits[n : n + 1, :, : size[0], : size[1]], size=original, mode="bilinear", align_corners=False
            )[0],
        )
        for n, (size, original) in enumerate(zip(image_sizes, original_sizes, strict=True))
    ]


def _detections(
    boxes: Tensor, scores: Tensor, labels: Tensor, mask_probs: Tensor, size: tuple[int, int], original: tuple[int, int]
) -> Detections:
    factors = boxes.new_tensor([original[1] / size[1], original[0] / size[0]]).repeat(2)
    boxes = boxes * factors
    order = scores.argsort(descending=True, stable=True)
    masks = paste_masks_in_image(mask_probs.float(), boxes, original)[:, 0] > 0.5
    if not len(boxes):
        masks = torch.zeros((0, *original), dtype=torch.bool, device=boxes.device)
    return Detections(boxes[order], scores[order], labels[order], masks[order])
