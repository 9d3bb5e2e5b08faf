"""How far the difference of two models' panoptic quality may be chance: images resampled, and images swapped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aunet.categories import Categories
from aunet.evaluation.outcomes import ImageCounts
from aunet.evaluation.resampling import FloatArray, drawings, margin, pq_of, swaps, terms

ROUNDING = 1e-9
"""Points of PQ by which a sum may differ from the same sum in another order."""


@dataclass(frozen=True, slots=True, eq=False)
class PairedDifferences:
    """Differences of PQ in points, for C categories and three groups: all, things, stuff."""

    groups: FloatArray
    """[3] as observed."""
    groups_margin: FloatArray
    """[3] half the width of their intervals."""
    classes: FloatArray
    """[C] as observed; NaN where a category is neither true nor predicted in any image."""
    classes_margin: FloatArray
    """[C]"""


def paired_differences(
    ours: ImageCounts, theirs: ImageCounts, categories: Categories, *, samples: int, seed: int, level: float
) -> PairedDifferences:
    """The difference of PQ of two models on the same N images, and how wide its interval is.

    Half the width is the larger of two values. One is Student's t times the standard deviation of the difference over
    bootstrap samples, N images drawn with replacement, the same for both models. The other is the `level` quantile of
    the absolute difference when in each image it is left to chance which of the two models is which. The first is right
    where many images show every category; where some show up in a handful of images it is too small, and would call
    up to 10 % of the pairs of equally good models different. The second is exact for these, and alone too small for
    five images and fewer.

    In each sample PQ is what `PanopticQuality` defines: the mean over the categories present in that sample.

    Args:
        ours: N ≥ 1 images, C categories.
        theirs: the same images.
        samples: of either kind.
        level: of the interval, in (0, 1).
    """
    own, other = terms(ours), terms(theirs)
    mean, half = (own + other) / 2, (own - other) / 2
    num_images, generator = len(own), np.random.default_rng(seed)
    drawn = [_difference(w @ own, w @ other, categories) for w in drawings(generator, num_images, samples)]
    swapped = [
        _difference(mean.sum(0) + s @ half, mean.sum(0) - s @ half, categories)
        for s in swaps(generator, num_images, samples)
    ]
    margins = []
    for resampled, exchanged in zip(zip(*drawn, strict=True), zip(*swapped, strict=True), strict=True):
        chance = _quantile(np.abs(np.concatenate(exchanged)), level)
        chance += np.where(chance > 0, ROUNDING, 0)
        margins.append(np.maximum(margin(np.concatenate(resampled), num_images, level), chance))
    groups, classes = _difference(own.sum(0)[None], other.sum(0)[None], categories)
    return PairedDifferences(groups[0], margins[0], classes[0], margins[1])


def _difference(own: FloatArray, other: FloatArray, categories: Categories) -> tuple[FloatArray, FloatArray]:
    """Ours minus theirs: [S, 3] of the groups and [S, C] of the categories, from two sums [S, 2C]."""
    (own_groups, own_classes), (other_groups, other_classes) = pq_of(own, categories), pq_of(other, categories)
    absent = np.isnan(own_classes) & np.isnan(other_classes)
    classes = np.where(absent, np.nan, np.nan_to_num(own_classes) - np.nan_to_num(other_classes))
    return own_groups - other_groups, classes


def _quantile(values: FloatArray, level: float) -> FloatArray:
    """The least value of each column that is not exceeded in a share `level` of it; NaN counts as 0."""
    position = min(int(np.ceil(level * (len(values) + 1))), len(values)) - 1
    return np.partition(np.nan_to_num(values), position, axis=0)[position]
