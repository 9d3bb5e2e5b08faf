"""Outcomes of segments: cases by hand, the counts of PanopticQuality, and joining."""

from __future__ import annotations

import json
from random import Random

import numpy as np
import pytest

from aunet.categories import Categories, Category
from aunet.errors import InputError
from aunet.evaluation.outcomes import COLUMNS, Fate, Outcomes
from aunet.evaluation.overlap import measure_overlap
from aunet.evaluation.panoptic_quality import PanopticQuality
from aunet.segments import Segment

CATEGORIES = Categories(
    tuple(Category(id=i, name=n, is_thing=t) for i, n, t in [(1, "car", True), (5, "dog", True), (9, "road", False)])
)
CAR, DOG, ROAD = 1, 5, 9
Picture = tuple[np.ndarray, list[Segment]]


def picture(rows: str, crowds: str = "", **categories: int) -> Picture:
    """A map and its segments: a letter a segment, "." void, rows separated by "/"."""
    ids = np.array([[0 if c == "." else ord(c) for c in row] for row in rows.split("/")], np.int32)
    segments = [
        Segment(ord(letter), category, CATEGORIES.by_id[category].is_thing, area=-1, is_crowd=letter in crowds)
        for letter, category in categories.items()
    ]
    return ids, segments


def outcomes_of(predicted: Picture, true: Picture, image_id: int = 7) -> Outcomes:
    return Outcomes.of(measure_overlap(*predicted, *true, CATEGORIES), image_id)


def random_picture(random: Random, side: int = 8) -> Picture:
    ids = np.array([[random.choice([0, 1, 1, 2, 3, 4]) for _ in range(side)] for _ in range(2)]).repeat(4, axis=0)
    present = sorted({*ids.flatten().tolist()} - {0})
    chosen = {i: random.choice([CAR, DOG, ROAD]) for i in present}
    return ids, [
        Segment(i, c, CATEGORIES.by_id[c].is_thing, area=-1, is_crowd=random.random() < 0.2) for i, c in chosen.items()
    ]


def row(outcomes: Outcomes, letter: str, is_predicted: bool) -> dict[str, float]:
    (n,) = np.flatnonzero((outcomes.segment_id == ord(letter)) & (outcomes.is_predicted == is_predicted))
    names = ("fate", "iou", "area", "category", "other_id", "other_category", "other_iou")
    return {name: getattr(outcomes, name)[n].item() for name in names}


def test_a_match_a_miss_a_false_one_and_the_nearest_of_another_category() -> None:
    outcomes = outcomes_of(
        picture("aaab/ccdd", a=CAR, b=DOG, c=ROAD, d=DOG),
        picture("aaaa/cccc", a=CAR, c=ROAD),
    )
    assert row(outcomes, "a", False) == {
        "fate": Fate.MATCHED,
        "iou": 0.75,
        "area": 4,
        "category": 0,
        "other_id": ord("a"),
        "other_category": 0,
        "other_iou": 0.75,
    }
    assert row(outcomes, "c", False)["fate"] == Fate.MISSED and row(outcomes, "c", False)["iou"] == 0.5
    assert row(outcomes, "d", True) == {
        "fate": Fate.FALSE,
        "iou": 0.0,
        "area": 2,
        "category": 1,
        "other_id": ord("c"),
        "other_category": 2,
        "other_iou": 0.5,
    }


def test_void_and_crowds_excuse_a_prediction() -> None:
    outcomes = outcomes_of(picture("aabb", a=CAR, b=CAR), picture(".kkk", crowds="k", k=CAR))
    assert row(outcomes, "k", False)["fate"] == Fate.CROWD and row(outcomes, "k", False)["iou"] == 0
    assert row(outcomes, "a", True)["fate"] == Fate.EXCUSED and row(outcomes, "b", True)["fate"] == Fate.EXCUSED
    assert row(outcomes, "b", True)["other_id"] == ord("k") and row(outcomes, "b", True)["iou"] == 0


def test_an_image_without_segments_is_still_an_image() -> None:
    empty = picture("..")
    outcomes = Outcomes.join([outcomes_of(empty, empty, 9), outcomes_of(picture("aa", a=CAR), empty, 3)])
    counts = outcomes.counts(CATEGORIES)
    assert counts.image_ids.tolist() == [3, 9] and counts.fp.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert np.isnan(counts.image_pq()).all(), "what is on void is excused, and nothing else is there"


def test_the_counts_are_those_of_panoptic_quality() -> None:
    random = Random(1)
    total, groups = PanopticQuality(CATEGORIES), []
    for image_id in range(200):
        true, other = random_picture(random), random_picture(random)
        ids = np.where(np.arange(8)[:, None] < random.randint(1, 8), true[0], other[0])
        category = {s.id: s.category_id for s in (*other[1], *true[1])}
        predicted = ids, [Segment(i, category[i], True, area=-1) for i in sorted({*ids.flatten().tolist()} - {0})]
        alone = PanopticQuality(CATEGORIES)
        for quality in (total, alone):
            quality.update(*predicted, *true)
        groups.append(outcomes_of(predicted, true, image_id))
        (pq,) = groups[-1].counts(CATEGORIES).image_pq()
        expected = alone.compute().all
        assert pq == pytest.approx(expected.pq, abs=1e-12) if expected.num_classes else np.isnan(pq)
    result = Outcomes.join(groups).counts(CATEGORIES).quality(CATEGORIES)
    assert result.metrics() == pytest.approx(total.compute().metrics(), abs=1e-12)
    assert [(c.tp, c.fp, c.fn) for c in result.per_class] == [(c.tp, c.fp, c.fn) for c in total.compute().per_class]
    assert sum(c.tp for c in result.per_class) > 20, "the pictures match somewhere"


def test_joined_outcomes_do_not_depend_on_the_order_of_the_groups() -> None:
    random = Random(2)
    groups = [outcomes_of(random_picture(random), random_picture(random), image_id) for image_id in range(20)]
    one, other = Outcomes.join(groups), Outcomes.join([Outcomes.join(groups[9:]), Outcomes.join(groups[:9])])
    for name in ("images", "image_id", "segment_id", "iou", "other_iou", "fate"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_outcomes_of_no_images_count_nothing() -> None:
    counts = Outcomes.join([]).counts(CATEGORIES)
    assert counts.iou.shape == (0, 3) and counts.quality(CATEGORIES).all.num_classes == 0


def test_plain_values_hold_everything() -> None:
    random = Random(3)
    one = outcomes_of(random_picture(random), random_picture(random))
    other = Outcomes.from_plain(json.loads(json.dumps(one.to_plain())))
    for name in COLUMNS:
        column, kept = getattr(one, name), getattr(other, name)
        assert np.array_equal(column, kept) and column.dtype == kept.dtype == COLUMNS[name], name


def test_an_image_that_comes_twice_is_refused() -> None:
    once = outcomes_of(picture("aa", a=CAR), picture("aa", a=CAR))
    with pytest.raises(InputError, match="image 7 is evaluated twice"):
        Outcomes.join([once, once])


def test_segments_and_images_are_selected() -> None:
    true = picture("aabb", a=CAR, b=DOG)
    outcomes = Outcomes.join([outcomes_of(true, true, 1), outcomes_of(true, true, 2)])
    cars = outcomes.select(outcomes.category == 0)
    assert cars.images.tolist() == [1, 2] and len(cars.image_id) == 4
    second = outcomes.of_images(np.array([2, 5]))
    assert second.images.tolist() == [2] and len(second.image_id) == 4
