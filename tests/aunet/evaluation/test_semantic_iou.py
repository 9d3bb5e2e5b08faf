"""mIoU: by hand, then against counting pixels one category at a time, then merging and the edges."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, strategies as st

from aunet.categories import Categories, Category
from aunet.errors import InputError
from aunet.evaluation.semantic_iou import SemanticIoU
from aunet.structures import Segment

CATEGORIES = Categories(
    tuple(Category(id=i, name=n, is_thing=t) for i, n, t in [(1, "car", True), (5, "dog", True), (9, "road", False)])
)
SEGMENT_CATEGORY = {1: 1, 2: 1, 3: 5, 4: 9, 5: 9}


def segments(ids: np.ndarray) -> list[Segment]:
    return [Segment(i, SEGMENT_CATEGORY[i], True, 0) for i in np.unique(ids[ids > 0]).tolist()]


def iou_of(predicted: list[list[int]], true: list[list[int]]) -> SemanticIoU:
    iou = SemanticIoU(CATEGORIES)
    mine, theirs = np.array(predicted), np.array(true)
    iou.update(mine, segments(mine), theirs, segments(theirs))
    return iou


def test_two_instances_of_a_category_are_one_region_and_true_void_is_not_counted() -> None:
    iou = iou_of([[1, 1, 4, 0, 3]], [[2, 2, 1, 4, 0]])
    assert iou.per_class() == pytest.approx({1: 100 * 2 / 3, 5: None, 9: 0.0})
    assert iou.compute() == pytest.approx(100 / 3)


def test_predicted_void_is_a_miss() -> None:
    assert iou_of([[1, 0]], [[1, 1]]).per_class()[1] == 50


def test_crowds_count_with_their_category() -> None:
    iou = SemanticIoU(CATEGORIES)
    ids = np.ones((2, 2), int)
    iou.update(ids, segments(ids), ids, [Segment(1, 1, True, 4, is_crowd=True)])
    assert iou.compute() == 100


def test_nothing_is_zero() -> None:
    assert SemanticIoU(CATEGORIES).compute() == 0
    assert iou_of([[1, 1]], [[0, 0]]).compute() == 0


maps = st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=3, max_size=3)


@given(st.lists(st.tuples(maps, maps), min_size=1, max_size=3))
def test_same_as_counting_each_category(images: list[tuple[list[list[int]], list[list[int]]]]) -> None:
    total = SemanticIoU(CATEGORIES)
    for predicted, true in images:
        one = iou_of(predicted, true)
        total.merge(pickle.loads(pickle.dumps(one)))
    of = np.vectorize(lambda i: SEGMENT_CATEGORY.get(i, 0))
    mine, theirs = (of(np.array([image[n] for image in images])) for n in (0, 1))
    for category_id, iou in total.per_class().items():
        hit = ((mine == category_id) & (theirs == category_id)).sum()
        union = (((mine == category_id) | (theirs == category_id)) & (theirs > 0)).sum()
        assert iou == (pytest.approx(100 * hit / union) if union else None)


def test_other_categories_do_not_mix() -> None:
    other = SemanticIoU(Categories((Category(id=1, name="car", is_thing=True),)))
    with pytest.raises(InputError, match="different categories"):
        other.merge(SemanticIoU(CATEGORIES))
    with pytest.raises(InputError, match="different categories"):
        SemanticIoU(CATEGORIES).merge(other)
