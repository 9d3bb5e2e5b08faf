"""Predictions against ground truth, image by image, in accumulators that add across workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from aunet.categories import Categories
from aunet.data.sample import Sample, decode_sample
from aunet.evaluation.attention_contrast import AttentionContrast
from aunet.evaluation.instance_ap import InstanceAP
from aunet.evaluation.overlap import measure_overlap
from aunet.evaluation.panoptic_quality import PanopticQuality
from aunet.evaluation.semantic_iou import SemanticIoU

if TYPE_CHECKING:
    from aunet.predictor import Predictor, Result
    from pipelines.data.shards import ShardReader

Inspector = Callable[[Sample, "Result"], None]
"""Called with every sample and its result."""


class Measurement:
    """PQ, mIoU, AP and the attention over some images; several of them add up."""

    def __init__(self, categories: Categories) -> None:
        self.quality = PanopticQuality(categories)
        self.semantic = SemanticIoU(categories)
        self.instances = InstanceAP(categories)
        self.attention = AttentionContrast()

    def update(self, sample: Sample, result: Result) -> None:
        """Count one image."""
        true = (sample.true_ids(), sample.true_segments())
        overlap = measure_overlap(result.panoptic.ids, result.panoptic.segments, *true, self.quality.categories)
        self.quality.add(overlap)
        self.semantic.add(overlap)
        self.attention.update(result.attention, *true)
        detections = result.prediction.detections
        if sample.instances is None:
            self.instances.update_from_map(sample.image_id, detections, *true)
        else:
            masks = [i.mask for i in sample.instances]
            self.instances.update(
                sample.image_id,
                detections,
                np.stack(masks) if masks else np.zeros((0, *sample.segment_map.shape), np.uint8),
                [i.category_id for i in sample.instances],
                [i.is_crowd for i in sample.instances],
            )

    def merge(self, other: Measurement) -> None:
        """Add the images of `other`."""
        self.quality.merge(other.quality)
        self.semantic.merge(other.semantic)
        self.instances.merge(other.instances)
        self.attention.merge(other.attention)

    def metrics(self) -> dict[str, float]:
        """PQ SQ RQ (all, _th, _st), AP, AP_box and mIoU, in per cent."""
        return {
            **self.quality.compute().metrics(),
            **self.instances.compute(),
            "mIoU": self.semantic.compute(),
        }

    def per_class(self) -> list[dict[str, Any]]:
        """One row per category: PQ, SQ, RQ, counts and IoU."""
        iou = self.semantic.per_class()
        return [row | {"IoU": iou[row["category_id"]]} for row in self.quality.compute().rows()]


def measure(
    predictor: Predictor, reader: ShardReader, indices: Iterable[int], inspect: Inspector | None = None
) -> Measurement:
    """Label the rows at `indices` one by one and compare them with their annotations."""
    measurement = Measurement(predictor.categories)
    for index in indices:
        sample = decode_sample(reader.row(index), predictor.categories)
        result = predictor([sample.image])[0]
        measurement.update(sample, result)
        if inspect is not None:
            inspect(sample, result)
    return measurement
