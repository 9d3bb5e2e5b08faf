"""Panoptic quality of resampled images, from what each of them adds."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from aunet.categories import Categories
from aunet.evaluation.outcomes import ImageCounts

CHUNK = 4_000_000
"""Weights of images that are in memory at a time, about 32 MB."""
LEAST_IMAGES = 6
"""Fewer show nothing with 95 %: two equal models whose places in 5 images are left to chance differ in one direction in
all of them in 2 of 32 cases. And drawn with replacement, an image alone is always itself: its interval has no width."""
FloatArray: TypeAlias = npt.NDArray[np.float64]


def terms(counts: ImageCounts) -> FloatArray:
    """[N, 2C]: per image the sums of IoU, then the denominators of PQ."""
    return np.concatenate([counts.iou, counts.tp + 0.5 * counts.fp + 0.5 * counts.fn], axis=1)


def pq_of(sums: FloatArray, categories: Categories) -> tuple[FloatArray, FloatArray]:
    """PQ in per cent of sums [S, 2C] of `terms`.

    Returns:
        [S, 3] of all, things and stuff, each the mean over the categories present in that sum, 0 where none is; and
        [S, C] of the categories, NaN where absent.
    """
    iou, weight = np.split(sums, 2, axis=1)
    present, members = _is_present(weight), _members(categories)
    classes = np.where(present, 100 * iou / np.where(present, weight, 1.0), 0.0)
    groups = classes @ members / np.maximum(present.astype(np.float64) @ members, 1)
    return groups, np.where(present, classes, np.nan)


def num_showing(own: FloatArray, categories: Categories) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """In how many images something is true or predicted, from their `terms` [N, 2C].

    Returns:
        [3] of all, things and stuff, [C] of the categories.
    """
    present = _is_present(np.split(own, 2, axis=1)[1])
    return (present @ _members(categories)).sum(0), present.sum(0)


def drawings(generator: np.random.Generator, num_images: int, samples: int) -> Iterator[FloatArray]:
    """Bootstrap samples: [s, N] how often each of N images is drawn, s samples at a time."""
    for size in _chunks(num_images, samples):
        images = generator.integers(num_images, size=(size, num_images)) + np.arange(size)[:, None] * num_images
        yield np.bincount(images.ravel(), minlength=size * num_images).reshape(size, num_images).astype(np.float64)


def swaps(generator: np.random.Generator, num_images: int, samples: int) -> Iterator[FloatArray]:
    """[s, N] of 1 and -1 by chance, s samples at a time: where two models change places."""
    for size in _chunks(num_images, samples):
        yield np.where(generator.integers(2, size=(size, num_images)), 1.0, -1.0)


def margin(values: FloatArray, num_images: int, level: float) -> FloatArray:
    """Half the width of the interval of each column: Student's t times its standard deviation.

    Args:
        values: of bootstrap samples, one a row; NaN where a sample has none.
        num_images: of which the samples are drawn.
        level: of the interval, in (0, 1).
    """
    known = ~np.isnan(values)
    number = known.sum(0)
    mean = np.where(known, values, 0).sum(0) / np.maximum(number, 1)
    variance = np.where(known, (values - mean) ** 2, 0).sum(0) / np.maximum(number - 1, 1)
    return student_t(level, num_images - 1) * np.sqrt(variance * num_images / max(num_images - 1, 1))


def student_t(level: float, degrees: int) -> float:
    """Student's t within which a share `level` lies, by the expansion of Cornish and Fisher.

    Right to 0.2 % from 5 degrees of freedom on, too small below.
    """
    z, n = NormalDist().inv_cdf((1 + level) / 2), max(degrees, 1)
    expansion = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / n**power for power, term in enumerate(expansion, start=1))


def _is_present(weight: FloatArray) -> npt.NDArray[np.bool_]:
    """Where a denominator of PQ is not 0: it is 0.5 or more then, whatever the rounding."""
    return weight > 0.25


def _members(categories: Categories) -> npt.NDArray[np.bool_]:
    """[C, 3] which categories belong to all, to things and to stuff."""
    is_thing = np.array([c.is_thing for c in categories.entries])
    return np.stack([np.ones_like(is_thing), is_thing, ~is_thing], axis=1)


def _chunks(num_images: int, samples: int) -> Iterator[int]:
    size = max(1, CHUNK // num_images)
    for start in range(0, samples, size):
        yield min(size, samples - start)
