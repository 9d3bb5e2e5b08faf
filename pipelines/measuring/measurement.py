"""Predictions against ground truth, image by image, in accumulators that add across workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from aunet.categories import Categories
from aunet.data.sample import Sample, decode_sample
from aunet.evaluation.attention_contrast import AttentionContrast
from aunet.evaluation.instance_ap import InstanceAP
from aunet.evaluation.outcomes import Outcomes
from aunet.evaluation.overlap import measure_overlap
from aunet.evaluation.panoptic_quality import PanopticQualityResult
from aunet.evaluation.semantic_iou import SemanticIoU

if TYPE_CHECKING:
    from aunet.predictor import Predictor, Result
    from pipelines.data.shards import ShardReader

Inspector = Callable[[Sample, "Result"], None]
"""Called with every sample and its result."""


class Measurement:
    """PQ, mIoU, AP and the attention over some images; several of them add up.

    Floats are the same whatever the order in which parts are added, except the attention's, which are sums.
    """

    def __init__(self, categories: Categories) -> None:
        self.categories = categories
        self.semantic = SemanticIoU(categories)
        self.instances = InstanceAP(categories)
        self.attention = AttentionContrast()
        self._outcomes: list[Outcomes] = []

    @property
    def outcomes(self) -> Outcomes:
        """What happened to the segments of all images.

        Raises:
            InputError: an image was measured twice.
        """
        return Outcomes.join(self._outcomes)

    def update(self, sample: Sample, result: Result) -> None:
        """Count one image."""
        true = (sample.true_ids(), sample.true_segments())
        overlap = measure_overlap(result.panoptic.ids, result.panoptic.segments, *true, self.categories)
        self._outcomes.append(Outcomes.of(overlap, sample.image_id))
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
        self._outcomes += other._outcomes
        self.semantic.merge(other.semantic)
        self.instances.merge(other.instances)
        self.attention.merge(other.attention)

    def to_plain(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "outcomes": self.outcomes.to_plain(),
            "semantic": self.semantic.pixels.tolist(),
            "instances": self.instances.to_plain(),
            "attention": self.attention.to_plain(),
        }

    @classmethod
    def from_plain(cls, categories: Categories, plain: Mapping[str, Any]) -> Measurement:
        """The inverse of `to_plain`."""
        measurement = cls(categories)
        measurement._outcomes = [Outcomes.from_plain(plain["outcomes"])]
        measurement.semantic.pixels = np.array(plain["semantic"], np.int64)
        measurement.instances = InstanceAP.from_plain(categories, plain["instances"])
        measurement.attention = AttentionContrast.from_plain(plain["attention"])
        return measurement

    def metrics(self) -> dict[str, float]:
        """PQ SQ RQ (all, _th, _st), AP, AP_box and mIoU, in per cent."""
        return {**self._quality().metrics(), **self.instances.compute(), "mIoU": self.semantic.compute()}

    def per_class(self) -> list[dict[str, Any]]:
        """One row per category: PQ, SQ, RQ, counts and IoU."""
        iou = self.semantic.per_class()
        return [row | {"IoU": iou[row["category_id"]]} for row in self._quality().rows()]

    def _quality(self) -> PanopticQualityResult:
        return self.outcomes.counts(self.categories).quality(self.categories)


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
