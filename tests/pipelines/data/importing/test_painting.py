"""Who owns a pixel: cases to count by hand, then properties of any drawing."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from aunet.categories import Categories, Category
from pipelines.data.importing.painting import paint
from pipelines.data.importing.record import VOID_CATEGORY, Drawing, Region, Uppermost
from pipelines.data.importing.region_masks import array_mask

CATEGORIES = Categories(
    (
        Category(id=1, name="car", is_thing=True),
        Category(id=2, name="person", is_thing=True),
        Category(id=7, name="road", is_thing=False),
        Category(id=8, name="sky", is_thing=False),
    )
)
WIDTH, HEIGHT = 6, 4


def box(category_id: int, x1: int, y1: int, x2: int, y2: int, *, is_crowd: bool = False, z: float = 0) -> Region:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[y1:y2, x1:x2] = True
    return Region(category_id=category_id, mask=array_mask(mask), is_crowd=is_crowd, z=z)


def areas(*regions: Region, on_top: Uppermost = "later", background: int | None = None) -> list[tuple[int, int, bool]]:
    """(category, area, crowd) of the segments, sorted."""
    painted = paint(Drawing(size=(WIDTH, HEIGHT), regions=list(regions)), CATEGORIES, on_top, background)
    return sorted((s.category_id, s.area, s.is_crowd) for s in painted.segments)


def changed(*regions: Region, on_top: Uppermost = "later") -> dict[str, int]:
    return dict(paint(Drawing(size=(WIDTH, HEIGHT), regions=list(regions)), CATEGORIES, on_top).changed)


def test_things_lie_over_stuff_whatever_their_order() -> None:
    assert areas(box(1, 0, 0, 2, 2), box(7, 0, 0, 6, 4)) == [(1, 4, False), (7, 20, False)]
    assert changed(box(1, 0, 0, 2, 2), box(7, 0, 0, 6, 4)) == {"stuff-pixels-covered": 4}


def test_of_two_things_the_later_is_on_top() -> None:
    assert areas(box(1, 0, 0, 1, 4), box(2, 0, 0, 6, 4)) == [(2, 24, False)]
    assert changed(box(1, 0, 0, 1, 4), box(2, 0, 0, 6, 4)) == {"thing-pixels-covered": 4, "regions-hidden": 1}


def test_of_two_things_the_smaller_is_on_top() -> None:
    assert areas(box(1, 0, 0, 1, 4), box(2, 0, 0, 6, 4), on_top="smaller") == [(1, 4, False), (2, 20, False)]


def test_depth_counts_before_everything() -> None:
    assert areas(box(1, 0, 0, 1, 4, z=1), box(2, 0, 0, 6, 4)) == [(1, 4, False), (2, 20, False)]
    assert areas(box(1, 0, 0, 1, 4), box(7, 0, 0, 6, 4, z=1)) == [(7, 24, False)]


def test_crowds_lie_between_stuff_and_single_things() -> None:
    made = areas(box(1, 0, 0, 2, 1), box(1, 0, 0, 6, 1, is_crowd=True), box(7, 0, 0, 6, 4))
    assert made == [(1, 2, False), (1, 4, True), (7, 18, False)]


def test_stuff_of_one_category_is_one_segment_and_never_a_crowd() -> None:
    assert areas(box(7, 0, 0, 2, 2), box(7, 1, 1, 3, 3, is_crowd=True)) == [(7, 7, False)]
    assert changed(box(7, 0, 0, 2, 2), box(7, 1, 1, 3, 3, is_crowd=True)) == {"crowd-stuff": 1}


def test_the_background_is_what_nobody_annotated_and_nothing_that_is_to_be_ignored() -> None:
    made = areas(box(1, 0, 0, 2, 2), box(VOID_CATEGORY, 2, 0, 4, 2), background=8)
    assert made == [(1, 4, False), (8, 16, False)]
    assert changed(box(VOID_CATEGORY, 2, 0, 4, 2)) == {"regions-void": 1}


def test_an_outline_without_a_pixel_is_counted_as_empty() -> None:
    assert changed(box(1, 0, 0, 0, 0)) == {"regions-empty": 1}


def test_a_map_is_the_bottom() -> None:
    base = np.array([[1, 1, 0], [2, 2, 2]], dtype=np.int32)
    drawing = Drawing(size=(3, 2), base=base, base_regions=[(7, False), (1, False)])
    painted = paint(drawing, CATEGORIES)
    assert sorted((s.category_id, s.area) for s in painted.segments) == [(1, 3), (7, 2)]
    assert painted.ids[0, 2] == 0


region = st.builds(
    lambda category, xs, ys, crowd, z: box(category, min(xs), min(ys), max(xs), max(ys), is_crowd=crowd, z=z),
    st.sampled_from([1, 2, 7, 8, VOID_CATEGORY]),
    st.tuples(st.integers(0, WIDTH), st.integers(0, WIDTH)),
    st.tuples(st.integers(0, HEIGHT), st.integers(0, HEIGHT)),
    st.booleans(),
    st.integers(0, 2),
)


@settings(max_examples=150, deadline=None)
@given(
    regions=st.lists(region, max_size=8),
    on_top=st.sampled_from(["later", "smaller"]),
    background=st.sampled_from([None, 8]),
)
def test_no_pixel_and_no_region_is_lost(regions: list[Region], on_top: Uppermost, background: int | None) -> None:
    drawing = Drawing(size=(WIDTH, HEIGHT), regions=regions)
    painted = paint(drawing, CATEGORIES, on_top, background)
    ids, segments = painted.ids, painted.segments
    assert sum(s.area for s in segments) == int((ids > 0).sum())
    assert {s.id for s in segments} == set(np.unique(ids).tolist()) - {0}
    assert all(s.area == int((ids == s.id).sum()) > 0 for s in segments)
    stuff = Counter(s.category_id for s in segments if not s.is_thing)
    assert all(count == 1 for count in stuff.values())
    things = sum(r.category_id in (1, 2) for r in regions)
    gone = painted.changed["regions-hidden"] + painted.changed["regions-empty"]
    assert things - gone <= sum(s.is_thing for s in segments) <= things
    if background is not None and not any(r.category_id == VOID_CATEGORY for r in regions):
        assert (ids > 0).all()


def test_ids_differ_for_as_many_segments_as_an_image_may_have() -> None:
    base = np.arange(1, 40_001, dtype=np.int32).reshape(200, 200)
    painted = paint(Drawing(size=(200, 200), base=base, base_regions=[(1, False)] * 40_000), CATEGORIES)
    assert len(painted.segments) == len({s.id for s in painted.segments}) == 40_000


@pytest.mark.parametrize("on_top", ["later", "smaller"])
def test_equal_regions_are_painted_in_their_order(on_top: Uppermost) -> None:
    assert areas(box(1, 0, 0, 2, 2), box(2, 0, 0, 2, 2), on_top=on_top) == [(2, 4, False)]
