"""PQ: cases counted by hand, the published values of another project, and a slow twin of panopticapi's rules."""

from __future__ import annotations

import json
import pickle
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from aunet.categories import Categories, Category
from aunet.errors import InputError
from aunet.evaluation.panoptic_quality import PanopticQuality
from aunet.structures import Segment

CATEGORIES = Categories(
    tuple(Category(id=i, name=n, is_thing=t) for i, n, t in [(1, "car", True), (5, "dog", True), (9, "road", False)])
)
CAR, DOG, ROAD = 1, 5, 9
Picture = tuple[list[list[int]], list[Segment]]


def picture(rows: str, crowds: str = "", **categories: int) -> Picture:
    """A map and its segments: a letter a segment, "." void, rows separated by "/"."""
    ids = [[0 if c == "." else ord(c) for c in row] for row in rows.split("/")]
    segments = [
        Segment(ord(letter), category, CATEGORIES.by_id[category].is_thing, area=-1, is_crowd=letter in crowds)
        for letter, category in categories.items()
    ]
    return ids, segments


def quality_of(predicted: Picture, true: Picture) -> PanopticQuality:
    quality = PanopticQuality(CATEGORIES)
    quality.update(np.array(predicted[0], np.int32), predicted[1], np.array(true[0], np.int32), true[1])
    return quality


def counts(quality: PanopticQuality, category_id: int) -> tuple[float, int, int, int]:
    n = [c.id for c in CATEGORIES.entries].index(category_id)
    return float(quality.iou[n]), int(quality.tp[n]), int(quality.fp[n]), int(quality.fn[n])


def test_a_match_a_miss_and_a_false_alarm() -> None:
    quality = quality_of(picture("aaab/ccdd", a=CAR, b=DOG, c=ROAD, d=DOG), picture("aaaa/cccc", a=CAR, c=ROAD))
    assert counts(quality, CAR) == (0.75, 1, 0, 0)
    assert counts(quality, DOG) == (0, 0, 2, 0)
    assert counts(quality, ROAD) == (0, 0, 1, 1), "half of the union is not above 0.5"
    result = quality.compute()
    assert result.metrics() == pytest.approx(
        {
            "PQ": 25,
            "SQ": 25,
            "RQ": 100 / 3,
            "PQ_th": 37.5,
            "SQ_th": 37.5,
            "RQ_th": 50,
            "PQ_st": 0,
            "SQ_st": 0,
            "RQ_st": 0,
        }
    )
    assert [c.pq for c in result.per_class] == pytest.approx([75, 0, 0])
    assert (result.all.num_classes, result.things.num_classes, result.stuff.num_classes) == (3, 2, 1)


def test_pixels_of_another_category_do_not_match() -> None:
    quality = quality_of(picture("aa", a=DOG), picture("aa", a=CAR))
    assert counts(quality, CAR) == (0, 0, 0, 1) and counts(quality, DOG) == (0, 0, 1, 0)


def test_void_in_the_ground_truth_counts_in_no_union() -> None:
    assert counts(quality_of(picture("aaaaa", a=CAR), picture("aa...", a=CAR)), CAR) == (1, 1, 0, 0)


def test_void_in_the_prediction_does_count() -> None:
    assert counts(quality_of(picture("aaa.", a=CAR), picture("aaaa", a=CAR)), CAR) == (0.75, 1, 0, 0)


def test_a_prediction_mostly_on_void_is_excused_and_one_half_on_void_is_not() -> None:
    truth = picture("bb....", b=ROAD)
    assert counts(quality_of(picture(".aaa..", a=CAR), truth), CAR) == (0, 0, 0, 0)
    assert counts(quality_of(picture(".aa...", a=CAR), truth), CAR) == (0, 0, 1, 0)


def test_a_crowd_is_neither_missed_nor_matched_and_excuses_its_own_category() -> None:
    truth = picture("cccc", crowds="c", c=CAR)
    assert counts(quality_of(picture("...."), truth), CAR) == (0, 0, 0, 0)
    assert counts(quality_of(picture("aabb", a=CAR, b=CAR), truth), CAR) == (0, 0, 0, 0)
    assert counts(quality_of(picture("aabb", a=CAR, b=DOG), truth), DOG) == (0, 0, 1, 0)


def test_a_crowd_stays_in_the_union_of_a_match_beside_it() -> None:
    assert counts(quality_of(picture("aaaa", a=CAR), picture("aaac", crowds="c", a=CAR, c=CAR)), CAR) == (0.75, 1, 0, 0)


def test_void_and_all_crowds_of_a_category_excuse_together() -> None:
    truth = picture("cd.eee", crowds="cd", c=CAR, d=CAR, e=ROAD)
    assert counts(quality_of(picture("aaaa..", a=CAR), truth), CAR) == (0, 0, 0, 0), "three of four pixels"
    assert counts(quality_of(picture("aaaaaa", a=CAR), truth), CAR) == (0, 0, 1, 0), "three of six"


def test_a_listed_true_segment_without_pixels_is_missed() -> None:
    assert counts(quality_of(picture(".."), picture("..", a=CAR)), CAR) == (0, 0, 0, 1)


def test_given_areas_are_not_trusted() -> None:
    truth = (np.ones((1, 2), np.int32), [Segment(1, CAR, True, area=1)])
    quality = PanopticQuality(CATEGORIES)
    quality.update(*truth, *truth)
    assert quality.compute().all.pq == 100


def test_nothing_at_all_is_zero_and_not_nan() -> None:
    result = PanopticQuality(CATEGORIES).compute()
    assert set(result.metrics().values()) == {0.0} and result.all.num_classes == 0
    assert not any(c.is_present for c in result.per_class)


@pytest.mark.parametrize(("is_thing", "empty"), [(True, "_st"), (False, "_th")])
def test_a_data_set_without_stuff_or_without_things(is_thing: bool, empty: str) -> None:
    quality = PanopticQuality(Categories((Category(id=3, name="all", is_thing=is_thing),)))
    truth = (np.ones((2, 2), np.int32), [Segment(1, 3, is_thing, 4)])
    quality.update(*truth, *truth)
    metrics = quality.compute().metrics()
    assert metrics["PQ"] == 100 and metrics["PQ" + empty] == 0


def test_tensors_and_arrays_of_any_integer_type() -> None:
    ids, segments = picture("aab/ccb", a=CAR, b=DOG, c=ROAD)
    quality = PanopticQuality(CATEGORIES)
    quality.update(torch.tensor(ids), segments, np.array(ids, np.uint32), segments)
    quality.update(torch.tensor(ids, dtype=torch.int32), segments, np.array(ids, np.uint8), segments)
    assert quality.compute().all.pq == 100 and quality.tp.tolist() == [2, 2, 2]


def test_rows_are_plain_json() -> None:
    rows = json.loads(json.dumps(quality_of(picture("aa", a=CAR), picture("aa", a=CAR)).compute().rows()))
    assert rows[0] == dict(category_id=1, name="car", isthing=1, PQ=100, SQ=100, RQ=100, tp=1, fp=0, fn=0)


@pytest.mark.parametrize(
    ("predicted", "true", "message"),
    [
        (picture("ab", a=CAR), picture("aa", a=CAR), "prediction: id 98 is in the map .* not in its segments"),
        (picture("aa", a=CAR), picture("ab", a=CAR), "ground truth: id 98 is in the map"),
        (picture("aa", a=CAR, b=CAR), picture("aa", a=CAR), "prediction: segment 98 is listed .* has no pixel"),
        (picture("aaa", a=CAR), picture("aa", a=CAR), "prediction is 3×1 pixels, ground truth 2×1"),
        (([[1]], [Segment(1, 77, True, 1)]), picture("a", a=CAR), "segment 1 has unknown category_id 77"),
        (([[1]], [Segment(1, CAR, True, 1)] * 2), picture("a", a=CAR), "segment id 1 is given twice"),
        (([[0]], [Segment(0, CAR, True, 1)]), picture("a", a=CAR), "segment id 0 is given twice or below 1"),
    ],
)
def test_maps_and_segments_that_do_not_fit_are_refused_and_not_counted(
    predicted: Picture, true: Picture, message: str
) -> None:
    quality = PanopticQuality(CATEGORIES)
    with pytest.raises(InputError, match=message):
        quality.update(np.array(predicted[0]), predicted[1], np.array(true[0]), true[1])
    assert [counts(quality, c.id) for c in CATEGORIES.entries] == [(0, 0, 0, 0)] * len(CATEGORIES)


def test_other_categories_do_not_mix() -> None:
    other = PanopticQuality(Categories((Category(id=1, name="car", is_thing=True),)))
    with pytest.raises(InputError, match="different categories"):
        other.merge(PanopticQuality(CATEGORIES))
    with pytest.raises(InputError, match="different categories"):
        PanopticQuality(CATEGORIES).merge(other)


# --------------------------------------------------------------------------------------------------------------------
# The slow twin: sets of pixels, one segment after the other.


def count_slowly(predicted: Picture, true: Picture) -> dict[int, list[float]]:
    """category_id → [sum of IoU, tp, fp, fn] of one image."""

    def regions(of: Picture) -> dict[int, set[tuple[int, int]]]:
        ids, segments = of
        pixels = {i: set() for i in [0, *(s.id for s in segments)]}
        for y, row in enumerate(ids):
            for x, i in enumerate(row):
                pixels[i].add((y, x))
        return pixels

    mine, theirs = regions(predicted), regions(true)
    result = {c.id: [0.0, 0, 0, 0] for c in CATEGORIES.entries}
    matched: set[tuple[str, int]] = set()
    for t in true[1]:
        for p in predicted[1]:
            if t.category_id != p.category_id or t.is_crowd:
                continue
            union = (mine[p.id] | theirs[t.id]) - (mine[p.id] & theirs[0])
            iou = len(mine[p.id] & theirs[t.id]) / len(union) if union else 0
            if iou > 0.5:
                result[t.category_id][0] += iou
                result[t.category_id][1] += 1
                matched |= {("true", t.id), ("predicted", p.id)}
    for t in true[1]:
        if ("true", t.id) not in matched and not t.is_crowd:
            result[t.category_id][3] += 1
    for p in predicted[1]:
        ignored = set(theirs[0])
        for t in true[1]:
            if t.is_crowd and t.category_id == p.category_id:
                ignored |= theirs[t.id]
        if ("predicted", p.id) not in matched and not len(mine[p.id] & ignored) / len(mine[p.id]) > 0.5:
            result[p.category_id][2] += 1
    return result


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Picture, Picture]:
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth = rng.choice(draw(st.integers(1, 6)), (height, width)) * 1000
    noise = rng.random((height, width)) < draw(st.sampled_from([0.0, 0.2, 0.5]))
    predicted = np.where(noise, rng.choice(6, (height, width)) * 1000, truth)
    ids = [CAR, DOG, ROAD]
    wrong = draw(st.sampled_from([0.0, 0.3]))
    of = {i: int(rng.choice(ids)) for i in range(1000, 7000, 1000)}
    guess = {i: int(rng.choice(ids)) if rng.random() < wrong else c for i, c in of.items()}
    crowd = {i: rng.random() < 0.3 for i in of}
    true_segments = [Segment(i, of[i], True, 0, is_crowd=crowd[i]) for i in np.unique(truth[truth > 0]).tolist()]
    segments = [Segment(i, guess[i], True, 0) for i in np.unique(predicted[predicted > 0]).tolist()]
    return (predicted.tolist(), segments), (truth.tolist(), true_segments)


@settings(max_examples=400, deadline=None)
@given(pairs())
def test_same_as_the_slow_twin(pair: tuple[Picture, Picture]) -> None:
    quality = quality_of(*pair)
    for category_id, expected in count_slowly(*pair).items():
        assert counts(quality, category_id) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(pairs(), max_size=6), st.randoms())
def test_workers_add_up_whatever_their_share(images: list[tuple[Picture, Picture]], random: Random) -> None:
    workers = [PanopticQuality(CATEGORIES) for _ in range(3)]
    alone, total = PanopticQuality(CATEGORIES), PanopticQuality(CATEGORIES)
    for predicted, true in images:
        image = np.array(predicted[0]), predicted[1], np.array(true[0]), true[1]
        alone.update(*image)
        workers[random.randrange(3)].update(*image)
    for worker in workers:
        total.merge(pickle.loads(pickle.dumps(worker)))
    for name in ("tp", "fp", "fn"):
        assert getattr(total, name).tolist() == getattr(alone, name).tolist()
    assert total.compute().metrics() == pytest.approx(alone.compute().metrics(), abs=1e-9)
