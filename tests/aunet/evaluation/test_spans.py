"""Intervals of one model's quality: they hold the truth about as often as they promise."""

from __future__ import annotations

import numpy as np
import pytest

from aunet.categories import Categories, Category
from aunet.evaluation.outcomes import ImageCounts
from aunet.evaluation.spans import spans

CATEGORIES = Categories(tuple(Category(id=n, name=f"c{n}", is_thing=n < 3) for n in range(1, 5)))


def drawn(generator: np.random.Generator, images: int) -> ImageCounts:
    tp, fp, fn = (generator.poisson(rate, (images, 4)).astype(np.int32) for rate in (1.0, 0.5, 0.5))
    return ImageCounts(np.arange(images), tp * np.float64(0.8), tp, fp, fn)


def test_intervals_hold_the_truth() -> None:
    """Of this model PQ is 100 · 0.8 · 1 / 1.5."""
    generator = np.random.default_rng(0)
    intervals = [spans(drawn(generator, 60), CATEGORIES, samples=200) for _ in range(200)]
    for name in ("PQ", "PQ_th", "PQ_st"):
        held = np.mean([low < 80 / 1.5 < high for low, high in (getattr(i, name) for i in intervals)])
        assert 0.9 <= held <= 0.99, name


def test_a_category_that_is_absent_has_none() -> None:
    counts = drawn(np.random.default_rng(0), 10)
    for kind in (counts.iou, counts.tp, counts.fp, counts.fn):
        kind[:, 2] = 0
    per_class = spans(counts, CATEGORIES).per_class
    assert [span is None for span in per_class] == [False, False, True, False]
    assert all(0 <= low < high <= 100 for low, high in filter(None, per_class))


def in_images(counts: ImageCounts, category: int, images: int) -> None:
    """Let a category occur in the first images only, in each of them."""
    for kind in (counts.iou, counts.tp, counts.fp, counts.fn):
        kind[images:, category] = 0
    counts.fn[:images, category] += 1


@pytest.mark.parametrize("images", [1, 5, 6])
def test_a_category_in_a_handful_of_images_has_none(images: int) -> None:
    """Of one image all samples say the same, and the interval would have no width."""
    counts = drawn(np.random.default_rng(0), 40)
    in_images(counts, 1, images)
    per_class = spans(counts, CATEGORIES).per_class
    assert [span is None for span in per_class] == [False, images < 6, False, False]
    assert all(low < high for low, high in filter(None, per_class))


def test_a_category_that_is_never_found_has_none() -> None:
    """In every image the same: all samples say 0, and 0 to 0 would look certain."""
    counts = drawn(np.random.default_rng(0), 40)
    counts.iou[:, 1] = counts.tp[:, 1] = 0
    counts.fn[:, 1] = 1
    per_class = spans(counts, CATEGORIES).per_class
    assert [span is None for span in per_class] == [False, True, False, False]


def test_a_category_that_is_the_same_in_all_images_has_none() -> None:
    """All samples say 70, but for the rounding of their sums."""
    counts = drawn(np.random.default_rng(0), 40)
    for kind, value in ((counts.iou, 0.7), (counts.tp, 1), (counts.fp, 0), (counts.fn, 0)):
        kind[:, 1] = value
    per_class = spans(counts, CATEGORIES).per_class
    assert [span is None for span in per_class] == [False, True, False, False]


def test_groups_in_a_handful_of_images_have_none() -> None:
    counts = drawn(np.random.default_rng(0), 40)
    for category in (0, 1):
        in_images(counts, category, 5)
    of_things = spans(counts, CATEGORIES)
    assert of_things.PQ_th is None and of_things.PQ and of_things.PQ_st
    few = spans(drawn(np.random.default_rng(0), 5), CATEGORIES)
    assert (few.PQ, few.PQ_th, few.PQ_st, *few.per_class) == (None,) * 7
