"""Measurements add: two halves are the whole, and the truth against itself is 100."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aunet.data.sample import Sample
from aunet.image_sized import SemanticLogits
from aunet.predictor import Result
from aunet.structures import Detections, PanopticMap, Prediction, Segment
from pipelines.measuring.measurement import Measurement
from tests.tiny import CATEGORIES


def scene(image_id: int) -> Sample:
    rng = np.random.default_rng(image_id)
    segment_map = np.full((32, 48), 1, np.int32)
    top, left = rng.integers(0, 12, 2)
    segment_map[top : top + 16, left : left + 20] = 2
    segments = [Segment(70, 12, False, 0), Segment(900, 3, True, 0)]
    return Sample(image_id, np.zeros((32, 48, 3), np.uint8), segment_map, segments)


def answer(sample: Sample, shift: int = 0) -> Result:
    """The ground truth as a prediction, its thing moved to the right."""
    ids = torch.from_numpy(np.roll(sample.segment_map, shift, axis=1))
    mask = ids == 2
    ys, xs = torch.nonzero(mask, as_tuple=True)
    box = torch.tensor([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]]).float()
    detections = Detections(box, torch.ones(1), torch.ones(1, dtype=torch.int64), mask[None])
    segments = [Segment(1, 12, False, int((ids == 1).sum())), Segment(2, 3, True, int(mask.sum()), 1.0)]
    result = Result(PanopticMap(ids, segments), Prediction(detections, SemanticLogits.of(torch.zeros(3, 32, 48))))
    result.attention = {"mam": torch.where(mask, 0.25, 0.75)}
    return result


def test_the_truth_is_100() -> None:
    measurement = Measurement(CATEGORIES)
    for image_id in range(4):
        measurement.update(scene(image_id), answer(scene(image_id)))
    metrics = measurement.metrics()
    for name in ("PQ", "PQ_th", "PQ_st", "SQ", "RQ", "AP", "AP_box", "mIoU"):
        assert metrics[name] == pytest.approx(100)
    assert measurement.attention.compute() == {"mam": {"things": 0.25, "stuff": 0.75, "difference": 0.5}}
    assert "mam" not in metrics and "attention" not in metrics


def test_halves_add_to_the_whole() -> None:
    undivided, even, odd = (Measurement(CATEGORIES) for _ in range(3))
    for image_id in range(8):
        sample = scene(image_id)
        for measurement in (undivided, odd if image_id % 2 else even):
            measurement.update(sample, answer(sample, shift=image_id))
    even.merge(odd)
    assert even.metrics() == pytest.approx(undivided.metrics())
    assert even.attention.compute()["mam"] == pytest.approx(undivided.attention.compute()["mam"])
    for one, other in zip(even.per_class(), undivided.per_class(), strict=True):
        assert one.pop("name") == other.pop("name") and one == pytest.approx(other)
    assert 0 < undivided.metrics()["PQ"] < 100
