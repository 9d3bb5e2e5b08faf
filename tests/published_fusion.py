"""The published merging, instance by instance over the whole image, as detectron2 and panopticapi have it."""

from __future__ import annotations

import torch
from torch import Tensor

from aunet.categories import Categories, ThingLabels
from aunet.config import FusionConfig
from aunet.structures import Detections, PanopticMap, Segment


def published_fusion(
    detections: Detections, labels: Tensor, categories: Categories, config: FusionConfig, thing_labels: ThingLabels
) -> PanopticMap:
    """`combine_semantic_and_instance_outputs`, written plainly; `labels` is the semantic map, int64[H, W]."""
    ids = torch.zeros(labels.shape, dtype=torch.int32)
    segments: list[Segment] = []
    for k in torch.argsort(detections.scores, descending=True, stable=True):
        score = detections.scores[k].item()
        if score < config.score_threshold:
            break
        mask = detections.masks[k]
        area = mask.sum().item()
        if area == 0:
            continue
        intersection = (mask & (ids > 0)).sum().item()
        if intersection / area > config.overlap_threshold:
            continue
        if intersection > 0:
            mask = mask & (ids == 0)
        if not mask.any():  # all of it is taken, which an overlap threshold of 1 allows
            continue
        ids[mask] = len(segments) + 1
        category = categories.things[int(detections.labels[k].item()) - 1]
        segments.append(Segment(len(segments) + 1, category.id, True, int(mask.sum().item()), score))
    first = categories.num_thing_labels(thing_labels)
    for label in torch.unique(labels).tolist():
        if label < first:
            continue
        mask = (labels == label) & (ids == 0)
        area = int(mask.sum().item())
        if area < max(config.stuff_area, 1):
            continue
        ids[mask] = len(segments) + 1
        segments.append(Segment(len(segments) + 1, categories.stuff[label - first].id, False, area))
    return PanopticMap(ids, segments)
