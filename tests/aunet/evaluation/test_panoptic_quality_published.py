"""PQ against the values that another project publishes for its own test pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aunet.categories import Categories, Category
from aunet.evaluation.panoptic_quality import PanopticQuality
from aunet.structures import Segment

COLORS = {
    (0, 0, 0): 0,
    (0, 0, 255): 1,
    (255, 0, 0): 2,
    (0, 255, 0): 3,
    (255, 0, 255): 4,
    (0, 255, 255): 5,
    (255, 255, 0): 6,
}
"""Colour of a class picture → class; 0 is ignored."""
PERSONS_AND_BEAR = {0: 0, 47: 1, 97: 1, 133: 1, 150: 1, 174: 1, 198: 2, 215: 1, 244: 1, 255: 1}
PUBLISHED = {
    "bird": ({92: 5, 176: 3, 255: 4}, "bird_gt.png"),
    "cat": ({0: 0, 255: 6}, "cat_gt.png"),
    "team": (PERSONS_AND_BEAR, "team_gt_instance.png"),
}
"""Name → (grey value of the ground truth → class, its file)."""


def published_pair(folder: Path, name: str) -> tuple[np.ndarray, list[Segment], np.ndarray, list[Segment]]:
    class_of, file_name = PUBLISHED[name]
    grey = np.array(Image.open(folder / file_name).convert("L"), np.int32)
    true_class = np.vectorize(class_of.__getitem__)(grey)
    color = np.array(Image.open(folder / f"{name}_pred_class.png").convert("RGB"))
    predicted_class = np.zeros(color.shape[:2], np.int32)
    for rgb, number in COLORS.items():
        predicted_class[(color == rgb).all(-1)] = number
    instance = np.array(Image.open(folder / f"{name}_pred_instance.png").convert("L"), np.int32)

    def segments(ids: np.ndarray) -> list[Segment]:
        return [Segment(i, i // 1000, True, 0) for i in np.unique(ids[ids > 0]).tolist()]

    true = np.where(true_class > 0, true_class * 1000 + grey, 0)
    predicted = np.where(predicted_class > 0, predicted_class * 1000 + instance, 0)
    return predicted, segments(predicted), true, segments(true)


@pytest.mark.parametrize(
    ("names", "pq", "sq", "rq"),
    [
        (["team"], 0.62156284, 0.64664984, 0.9666667),
        (["bird", "cat", "team"], 0.76855499, 0.7769174, 0.98888892),
    ],
)
def test_published_values(sample_data: Path, names: list[str], pq: float, sq: float, rq: float) -> None:
    quality = PanopticQuality(Categories(tuple(Category(id=i, name=str(i), is_thing=True) for i in range(1, 7))))
    for name in names:
        quality.update(*published_pair(sample_data / "known_pq_deeplab2", name))
    result = quality.compute().all
    assert (result.pq, result.sq, result.rq) == pytest.approx((100 * pq, 100 * sq, 100 * rq), abs=1e-4)
