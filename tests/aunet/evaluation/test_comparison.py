"""Comparing two models: cases by hand, equal models that must not differ, and models that do."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from aunet.categories import Categories, Category
from aunet.errors import InputError
from aunet.evaluation.comparison import Comparison, compare
from aunet.evaluation.outcomes import ImageCounts
from aunet.evaluation.resampling import student_t


def categories_of(number: int) -> Categories:
    return Categories(tuple(Category(id=n + 1, name=f"c{n}", is_thing=n % 3 > 0) for n in range(number)))


def counts_of(*images: list[tuple[float, int, int, int]]) -> ImageCounts:
    """Per image and category (sum of IoU, TP, FP, FN)."""
    table = np.array(images, np.float64)
    tp, fp, fn = (table[..., n].astype(np.int32) for n in (1, 2, 3))
    return ImageCounts(np.arange(len(images), dtype=np.int64), table[..., 0], tp, fp, fn)


def simulated(
    generator: np.random.Generator, images: int, categories: int, gain: float = 0.0
) -> tuple[ImageCounts, ImageCounts]:
    """Two models on the same images; of every category the first matches a share `gain` more.

    How often categories show up falls as in COCO (the n-th as 1/n); what is hard for one model is mostly hard for both.
    """
    frequency = 1 / np.arange(1, categories + 1)
    frequency *= 8 / frequency.sum()
    true = generator.poisson(frequency, (images, categories))
    cells = np.repeat(np.arange(true.size), true.ravel())
    image_hardness = generator.normal(size=images)[cells // categories] * 0.5
    hardness = generator.normal(size=len(cells)) * math.sqrt(0.6) + image_hardness
    models = []
    for share in (0.55 + gain, 0.55):
        score = hardness + generator.normal(size=len(cells)) * math.sqrt(0.4)
        is_match = score > NormalDist(sigma=math.sqrt(1.25)).inv_cdf(1 - share)
        iou = np.clip(0.75 + 0.2 * np.tanh(0.5 * score + generator.normal(scale=0.3, size=len(cells))), 0.51, 1)
        tp, total = (
            np.bincount(cells[is_match], weights=weights, minlength=true.size).reshape(true.shape)
            for weights in (None, iou[is_match])
        )
        fp = generator.poisson(0.35 * frequency, true.shape)
        kinds = (tp.astype(np.int32), fp.astype(np.int32), (true - tp).astype(np.int32))
        models.append(ImageCounts(np.arange(images, dtype=np.int64), total.astype(np.float64), *kinds))
    return models[0], models[1]


def share_decided(pairs: int, images: int, categories: int, gain: float, verdict: str, samples: int = 400) -> float:
    generator, known = np.random.default_rng(7), categories_of(categories)
    verdicts = [
        compare(*simulated(generator, images, categories, gain), known, samples=samples, seed=pair).verdict
        for pair in range(pairs)
    ]
    return sum(v in verdict.split() for v in verdicts) / pairs


def test_the_difference_is_that_of_the_two_qualities() -> None:
    categories = categories_of(12)
    ours, theirs = simulated(np.random.default_rng(3), 40, 12, gain=0.2)
    comparison = compare(ours, theirs, categories)
    own, other = ours.quality(categories), theirs.quality(categories)
    for suffix in ("PQ", "PQ_th", "PQ_st"):
        expected = own.metrics()[suffix] - other.metrics()[suffix]
        assert getattr(comparison, suffix).difference == pytest.approx(expected, abs=1e-9)
    classes = {c.name: d.difference for c, d in comparison.per_class}
    expected = {a.name: a.pq - b.pq for a, b in zip(own.per_class, other.per_class, strict=True)}
    assert classes == pytest.approx({name: expected[name] for name in classes}, abs=1e-9)
    mirrored = compare(theirs, ours, categories)
    assert mirrored.PQ.low == pytest.approx(-comparison.PQ.high) and mirrored.won == comparison.lost


def test_a_model_is_equal_to_itself() -> None:
    categories = categories_of(5)
    ours, _ = simulated(np.random.default_rng(0), 20, 5)
    comparison = compare(ours, ours, categories)
    assert (comparison.verdict, comparison.more_images, comparison.won, comparison.lost) == ("equal", None, (), ())
    assert (comparison.PQ.low, comparison.PQ.difference, comparison.PQ.high) == (0, 0, 0)
    assert "equal" in comparison.sentence()
    assert compare(ours, ours, categories, margin=-1.0).verdict == "equal"


def test_a_better_model_is_better_and_a_margin_asks_for_more() -> None:
    categories = categories_of(2)
    theirs = counts_of(*[[(0.6, 1, 0, 0), (0.6, 1, 0, 0)]] * 12)
    ours = replace(theirs, iou=theirs.iou + 0.1)
    comparison = compare(ours, theirs, categories)
    assert comparison.verdict == "better" and comparison.PQ.difference == pytest.approx(10)
    assert len(comparison.won) == 12 and not comparison.lost and comparison.more_images is None
    assert compare(theirs, ours, categories).verdict == "worse"
    assert compare(ours, theirs, categories, margin=30.0).verdict == "worse", "not better by that much"
    assert comparison.sentence("new", "old").startswith("new is better than old: PQ +10.0 [")


def test_five_images_decide_nothing() -> None:
    categories = categories_of(1)
    theirs = counts_of(*[[(0.6, 1, 0, 0)]] * 5)
    ours = replace(theirs, iou=theirs.iou + np.arange(1, 6)[:, None] / 20)
    assert compare(ours, theirs, categories).verdict == "undecided"
    one = compare(counts_of([(0.9, 1, 0, 0)]), counts_of([(0.0, 0, 1, 1)]), categories)
    assert one.verdict == "undecided" and one.per_class[0][1].low <= 0, "a difference in one image may be chance"


@pytest.mark.parametrize(("images", "more"), [(1, "5 more images"), (2, "4 more images"), (5, "1 more image")])
def test_no_number_of_more_images_stays_below_six(images: int, more: str) -> None:
    """Here the interval reaches just to 0, as if the very next image decided."""
    theirs = counts_of(*[[(0.6, 1, 0, 0)]] * images)
    comparison = compare(replace(theirs, iou=theirs.iou + 0.05), theirs, categories_of(1))
    assert comparison.verdict == "undecided" and comparison.more_images == 6 - images
    assert comparison.sentence().endswith(f"; about {more} would decide")


@pytest.mark.parametrize("margin", [-1.0, 30.0])
def test_five_images_decide_nothing_with_a_margin_either(margin: float) -> None:
    theirs = counts_of(*[[(0.6, 1, 0, 0)]] * 5)
    ours = replace(theirs, iou=theirs.iou + 0.05)
    assert compare(ours, theirs, categories_of(1), margin=margin).verdict == "undecided"
    assert compare(theirs, theirs, categories_of(1), margin=margin).verdict == "equal"


def test_how_many_more_images_decide() -> None:
    """Where four times as many images halve the interval, half of the interval's half decides with them."""
    categories = categories_of(4)
    ours, theirs = simulated(np.random.default_rng(5), 60, 4, gain=0.02)
    comparison = compare(ours, theirs, categories)
    assert comparison.verdict == "undecided" and comparison.more_images
    half = comparison.PQ.high - comparison.PQ.difference
    ratio = (60 + comparison.more_images) / 60
    assert half / math.sqrt(ratio) == pytest.approx(abs(comparison.PQ.difference), rel=0.02)
    assert f"about {comparison.more_images} more images" in comparison.sentence()


def test_images_with_nothing_to_count_are_perfect_beside_false_positives() -> None:
    ours = counts_of([(0, 0, 0, 0)], [(0.9, 1, 0, 0)])
    theirs = counts_of([(0, 0, 1, 0)], [(0.8, 1, 0, 0)])
    comparison = compare(ours, theirs, categories_of(1))
    assert comparison.won == (0, 1), "the first by 100 points"


def test_categories_that_nobody_has_seen_are_left_out() -> None:
    ours = counts_of([(0.9, 1, 0, 0), (0, 0, 0, 0)], [(0.9, 1, 0, 0), (0, 0, 0, 0)])
    comparison = compare(ours, ours, categories_of(2))
    assert [c.name for c, _ in comparison.per_class] == ["c0"]
    assert not any(math.isnan(v) for _, d in comparison.per_class for v in (d.low, d.difference, d.high))


def test_other_images_are_refused() -> None:
    ours, theirs = counts_of([(0, 0, 0, 0)]), counts_of([(0, 0, 0, 0)], [(0, 0, 0, 0)])
    with pytest.raises(InputError, match="different images: 1 and 2, among them only once 1; measure both"):
        compare(ours, theirs, categories_of(1))
    nothing = replace(ours, image_ids=np.zeros(0, np.int64))
    with pytest.raises(InputError, match="no images to compare on"):
        compare(nothing, nothing, categories_of(1))


def test_the_json_names_everything() -> None:
    ours, theirs = simulated(np.random.default_rng(1), 70, 6)
    comparison = compare(ours, theirs, categories_of(6))
    plain = comparison.to_json()
    assert set(plain["PQ_th"]) == {"difference", "low", "high"}
    assert len(plain["won"]) <= 50 and plain["num_won"] == len(comparison.won)
    assert plain["per_class"][0]["name"] == "c0" and isinstance(comparison, Comparison)


@pytest.mark.parametrize(("degrees", "expected"), [(5, 2.571), (9, 2.262), (29, 2.045), (999, 1.962)])
def test_students_t(degrees: int, expected: float) -> None:
    assert student_t(0.95, degrees) == pytest.approx(expected, rel=2e-3)


def test_equal_models_are_rarely_told_apart() -> None:
    """Most categories in few images: the bootstrap alone calls about 8 % of these pairs different."""
    assert share_decided(500, images=20, categories=30, gain=0, verdict="better worse") <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("images", "categories"), [(10, 3), (20, 5), (50, 30), (100, 5), (100, 80)])
def test_equal_models_are_rarely_told_apart_on_any_data(images: int, categories: int) -> None:
    """5 % is the rate of the method; 1.5 points are three standard deviations of 2,000 pairs."""
    assert share_decided(2000, images, categories, 0, "better worse") <= 0.065
    assert share_decided(2000, images, categories, 0, "better") <= 0.035


@pytest.mark.slow
@pytest.mark.parametrize(("images", "least"), [(500, 0.5), (2000, 0.95)])
def test_two_points_are_seen(images: int, least: float) -> None:
    """25 categories; matching 0.04 more of the segments is +2 PQ."""
    generator, categories = np.random.default_rng(0), categories_of(25)
    ours, theirs = simulated(generator, 40_000, 25, gain=0.04)
    truth = ours.quality(categories).all.pq - theirs.quality(categories).all.pq
    assert truth == pytest.approx(2.0, abs=0.2)
    assert share_decided(200, images, 25, 0.04, "better") >= least
