"""From the network's output to predictions at the size of the original image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks
from torchvision.ops import batched_nms

from aunet.model.aunet import Output
from aunet.model.precision import at_least_float32
from aunet.structures import Detections, Prediction


def to_predictions(
    output: Output,
    input_size: tuple[int, int],
    image_sizes: list[tuple[int, int]],
    original_sizes: list[tuple[int, int]],
) -> list[Prediction]:
    """Undo padding and resizing.

    Args:
        input_size: (H, W) of the padded batch.
        image_sizes: (height, width) of each image inside it.
        original_sizes: (height, width) of each image before it was resized; predictions have this size.
    """
    logits = F.interpolate(output.semantic.logits, size=input_size, mode="bilinear", align_corners=False)
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


def mirror(prediction: Prediction) -> Prediction:
    """The prediction for the mirrored image."""
    detections, logits = prediction.detections, prediction.semantic_logits
    boxes = detections.boxes.clone()
    boxes[:, [0, 2]] = logits.shape[-1] - detections.boxes[:, [2, 0]]
    mirrored = Detections(boxes, detections.scores, detections.labels, detections.masks.flip(-1))
    return Prediction(mirrored, logits.flip(-1))


def merge_views(views: Sequence[Prediction], nms_threshold: float, max_detections: int) -> Prediction:
    """One prediction from several of the same image: mean class probabilities, NMS over all detections."""
    if len(views) == 1:
        return views[0]
    detections = [view.detections for view in views]
    boxes = torch.cat([d.boxes for d in detections])
    scores = torch.cat([d.scores for d in detections])
    labels = torch.cat([d.labels for d in detections])
    kept = batched_nms(boxes, scores, labels, nms_threshold)[:max_detections]
    masks = torch.cat([d.masks for d in detections])[kept]
    probabilities = torch.stack([view.semantic_logits.softmax(0) for view in views]).mean(0)
    return Prediction(Detections(boxes[kept], scores[kept], labels[kept], masks), probabilities.clamp(min=1e-12).log())


def paste_masks(mask_probs: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks at the size of the image: torchvision's `paste_masks_in_image` > 0.5, bit for bit.

    Each mask is compared before it is written into the image: no image-sized probabilities are held, which at 1024×2048
    are 8 MB for each instance.

    Args:
        mask_probs: Tensor[K, 1, m, m] in [0, 1].
        boxes: Tensor[K, 4], inside the image.
        size: (H, W) of the image.

    Returns:
        Tensor[K, H, W] bool.
    """
    masks = torch.zeros((len(boxes), *size), dtype=torch.bool, device=boxes.device)
    padded, scale = expand_masks(mask_probs, 1)
    for image, mask, (x1, y1, x2, y2) in zip(masks, padded, expand_boxes(boxes, scale).long().tolist(), strict=True):
        grown = F.interpolate(mask[None], size=(y2 - y1 + 1, x2 - x1 + 1), mode="bilinear", align_corners=False)[0, 0]
        left, top = max(x1, 0), max(y1, 0)
        window = image[top : y2 + 1, left : x2 + 1]
        window.copy_(grown[top - y1 :, left - x1 :][: window.shape[0], : window.shape[1]] > 0.5)
    return masks


def _detections(
    boxes: Tensor, scores: Tensor, labels: Tensor, mask_probs: Tensor, size: tuple[int, int], original: tuple[int, int]
) -> Detections:
    factors = boxes.new_tensor([original[1] / size[1], original[0] / size[0]]).repeat(2)
    boxes = boxes * factors
    order = scores.argsort(descending=True, stable=True)
    masks = paste_masks(at_least_float32(mask_probs), boxes, original)
    return Detections(boxes[order], scores[order], labels[order], masks[order])
