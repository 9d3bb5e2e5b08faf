"""From the network's output to predictions at the size of the original image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from aunet.config import Geometry
from aunet.image_sized import InstanceMasks, SemanticLogits
from aunet.model.aunet import Output
from aunet.model.precision import at_least_float32
from aunet.structures import Detections, Prediction


def to_predictions(
    output: Output,
    input_size: tuple[int, int],
    image_sizes: list[tuple[int, int]],
    original_sizes: list[tuple[int, int]],
    geometry: Geometry = "exact",
) -> list[Prediction]:
    """Undo padding and resizing.

    Args:
        input_size: (H, W) of the padded batch.
        image_sizes: (height, width) of each image inside it.
        original_sizes: (height, width) of each image before it was resized; predictions have this size.
        geometry: that of the network's masks, `model.foreground.geometry`.
    """
    instances = output.instances
    return [
        Prediction(
            detections=_detections(
                instances.boxes[n],
                instances.scores[n],
                instances.labels[n],
                instances.mask_probs[n],
                size,
                original,
                geometry,
            ),
            semantics=SemanticLogits(output.semantic.logits[n : n + 1], input_size, size, original),
        )
        for n, (size, original) in enumerate(zip(image_sizes, original_sizes, strict=True))
    ]


def mirror(prediction: Prediction) -> Prediction:
    """The prediction for the mirrored image."""
    detections, masks = prediction.detections, prediction.detections.stored_masks
    boxes = detections.boxes.clone()
    boxes[:, [0, 2]] = prediction.semantics.shape[-1] - detections.boxes[:, [2, 0]]
    mirrored = masks.flip(-1) if isinstance(masks, Tensor) else masks.mirror()
    return Prediction(Detections(boxes, detections.scores, detections.labels, mirrored), prediction.semantics.mirror())


def merge_views(views: Sequence[Prediction], nms_threshold: float, max_detections: int) -> Prediction:
    """One prediction from several of the same image: mean class probabilities, NMS over all detections."""
    if len(views) == 1:
        return views[0]
    detections = [view.detections for view in views]
    boxes = torch.cat([d.boxes for d in detections])
    scores = torch.cat([d.scores for d in detections])
    labels = torch.cat([d.labels for d in detections])
    kept = batched_nms(boxes, scores, labels, nms_threshold)[:max_detections]
    small = [d.stored_masks for d in detections if isinstance(d.stored_masks, InstanceMasks)]
    are_small = len(small) == len(views)
    masks = InstanceMasks.join(small).select(kept) if are_small else torch.cat([d.masks for d in detections])[kept]
    probabilities = torch.stack([view.semantic_logits.softmax(0) for view in views]).mean(0)
    logits = SemanticLogits.of(probabilities.clamp(min=1e-12).log())
    return Prediction(Detections(boxes[kept], scores[kept], labels[kept], masks), logits)


def _detections(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    mask_probs: Tensor,
    size: tuple[int, int],
    original: tuple[int, int],
    geometry: Geometry,
) -> Detections:
    factors = boxes.new_tensor([original[1] / size[1], original[0] / size[0]]).repeat(2)
    order = scores.argsort(descending=True, stable=True)
    masks = InstanceMasks(
        at_least_float32(mask_probs),
        boxes * factors,
        original,
        whole_pixels=geometry == "torchvision",
        grids=(boxes + 0.5) * factors if geometry == "unaligned" else None,
    )
    boxes = boxes * factors
    return Detections(boxes[order], scores[order], labels[order], masks.select(order))
