"""Things of one image over another: numbers, areas, boxes and masks stay those of what is visible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from aunet.categories import VOID, Categories, Category
from aunet.data.copy_paste import LEAST_SHARE, paste_things
from aunet.data.sample import MIN_AREA, Instance, Sample, pack_target
from aunet.segments import Segment

CATEGORIES = Categories(
    (
        Category(id=3, name="disk", is_thing=True),
        Category(id=5, name="sky", is_thing=False),
        Category(id=9, name="star", is_thing=True),
    )
)
SKY, DISK, STAR = 5, 3, 9


class AllOrNone(np.random.Generator):
    """Draws the same number every time."""

    def __init__(self, number: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.number = number

    def random(self, *shape):  # type: ignore[override]
        return np.full(shape, self.number)


EVERYTHING, NOTHING = AllOrNone(0.0), AllOrNone(1.0)


def scene(
    image_id: int, color: int, boxes: list[tuple[int, int, int, int]], *, instances: bool = False, crowd: bool = False
) -> Sample:
    """Squares (y1, x1, y2, x2) of alternating categories on sky, later ones over earlier ones."""
    segment_map = np.ones((40, 60), np.uint8)
    segments = [Segment(1, SKY, False, 1)]
    full = []
    for number, (y1, x1, y2, x2) in enumerate(boxes, start=2):
        segment_map[y1:y2, x1:x2] = number
        category_id = (DISK, STAR)[number % 2]
        segments.append(Segment(number, category_id, True, 1, is_crowd=crowd))
        mask = np.zeros((40, 60), np.uint8)
        mask[y1:y2, x1:x2] = 1
        full.append(Instance(category_id, crowd, mask))
    image = np.full((40, 60, 3), color, np.uint8)
    return Sample(image_id, image, segment_map, segments, full if instances else None)


def test_a_thing_is_painted_with_its_pixels_number_and_box() -> None:
    below, above = scene(1, 10, [(0, 0, 10, 10)]), scene(2, 200, [(20, 30, 30, 50)])
    result = paste_things(below, above, EVERYTHING)
    assert (result.image[20:30, 30:50] == 200).all() and int((result.image == 200).sum()) == 10 * 20 * 3
    assert (result.segment_map[20:30, 30:50] == 3).all()
    assert [(s.id, s.category_id, s.area) for s in result.segments] == [
        (1, SKY, 40 * 60 - 300),
        (2, DISK, 100),
        (3, DISK, 200),
    ]
    target = pack_target(result, CATEGORIES, "one")
    assert target.boxes.tolist() == [[0, 0, 10, 10], [30, 20, 50, 30]] and target.image_id == 1
    assert (below.segment_map.max(), above.segment_map.max()) == (2, 2), "both are left as they were"


def test_a_thing_that_is_nearly_covered_becomes_void() -> None:
    below = scene(1, 10, [(0, 0, 10, 20), (20, 0, 30, 20)])
    above = scene(2, 200, [(0, 0, 10, 19), (20, 0, 30, 17)])
    result = paste_things(below, above, EVERYTHING)
    assert (result.segment_map[0:10, 19] == 0).all(), "10 of 200 pixels are less than a tenth"
    assert (result.segment_map[20:30, 17:20] == 3).all(), "30 of 200 are more"
    target = pack_target(result, CATEGORIES, "one")
    assert target.boxes.tolist() == [[17, 20, 20, 30], [0, 0, 19, 10], [0, 20, 17, 30]]
    assert target.semantic[0] == VOID


def test_with_instances_the_masks_change_as_the_map_does() -> None:
    below = scene(1, 10, [(0, 0, 10, 20), (20, 0, 30, 20)], instances=True)
    above = scene(2, 200, [(0, 0, 10, 19), (20, 0, 30, 17)], instances=True)
    result = paste_things(below, above, EVERYTHING)
    assert result.instances is not None
    assert [int(i.mask.sum()) for i in result.instances] == [30, 190, 170]
    assert [i.category_id for i in result.instances] == [STAR, DISK, STAR]
    assert pack_target(result, CATEGORIES, "one").boxes.tolist() == [[17, 20, 20, 30], [0, 0, 19, 10], [0, 20, 17, 30]]
    assert below.instances is not None and [int(i.mask.sum()) for i in below.instances] == [200, 200]


def test_nothing_chosen_is_the_same_object_and_crowds_are_never_chosen() -> None:
    below = scene(1, 10, [(0, 0, 10, 10)])
    assert paste_things(below, scene(2, 200, [(20, 30, 30, 50)]), NOTHING) is below
    assert paste_things(below, scene(2, 200, [(20, 30, 30, 50)], crowd=True), EVERYTHING) is below
    assert paste_things(below, scene(2, 200, []), EVERYTHING) is below


def test_of_two_sizes_what_both_have_is_used() -> None:
    below, above = scene(1, 10, [(0, 0, 10, 10)]), scene(2, 200, [(20, 30, 30, 50)])
    narrow = Sample(3, below.image[:25, :35].copy(), below.segment_map[:25, :35].copy(), below.segments)
    result = paste_things(narrow, above, EVERYTHING)
    assert result.image.shape == (25, 35, 3) and int((result.segment_map == 3).sum()) == 25
    wide = paste_things(above, narrow, EVERYTHING)
    assert wide.image.shape == (40, 60, 3) and int((wide.segment_map == 3).sum()) == 100


def test_more_segments_than_a_byte_can_number() -> None:
    boxes = [(y, x, y + 2, x + 2) for y in range(0, 40, 4) for x in range(0, 60, 4)]
    below, above = scene(1, 10, boxes), scene(2, 200, [(y + 2, x + 2, y2 + 2, x2 + 2) for y, x, y2, x2 in boxes])
    result = paste_things(below, above, EVERYTHING)
    assert result.segment_map.dtype == np.int16 and len(np.unique(result.segment_map)) == 1 + 2 * 150
    assert len(pack_target(result, CATEGORIES, "one").boxes) == 300


box = st.tuples(st.integers(0, 36), st.integers(0, 56), st.integers(1, 20), st.integers(1, 20)).map(
    lambda b: (b[0], b[1], min(b[0] + b[2], 40), min(b[1] + b[3], 60))
)


@settings(max_examples=150, deadline=None)
@given(below=st.lists(box, max_size=6), above=st.lists(box, max_size=6), seed=st.integers(0, 99), full=st.booleans())
def test_what_is_annotated_is_what_is_visible(below: list, above: list, seed: int, full: bool) -> None:
    first, second = scene(1, 10, below, instances=full), scene(2, 200, above, instances=full)
    result = paste_things(first, second, np.random.default_rng(seed))
    again = paste_things(first, second, np.random.default_rng(seed))
    assert np.array_equal(result.segment_map, again.segment_map) and np.array_equal(result.image, again.image)
    count, areas = len(first.segments), np.bincount(result.segment_map.ravel(), minlength=len(result.segments) + 1)
    if result is not first:
        assert [s.id for s in result.segments] == list(range(1, len(result.segments) + 1))
        assert [s.area for s in result.segments] == areas[1:].tolist()
    is_pasted = result.segment_map > count
    assert np.array_equal(is_pasted, result.image[..., 0] == 200), "every pasted pixel is annotated, and no other"
    kept = ~is_pasted & (result.segment_map > 0)
    assert np.array_equal(result.segment_map[kept], first.segment_map[kept])
    before = np.bincount(first.segment_map.ravel(), minlength=count + 1)
    for number, segment in enumerate(first.segments, start=1):
        if segment.is_thing and 0 < areas[number] < before[number]:
            assert areas[number] >= max(MIN_AREA, LEAST_SHARE * before[number])
    assert (result.segment_map == 0).sum() <= sum(
        max(MIN_AREA, LEAST_SHARE * before[n]) for n in range(2, count + 1)
    ), "only what was nearly covered is void"
    target = pack_target(result, CATEGORIES, "one")
    assert (target.boxes[:, 2:] > target.boxes[:, :2]).all()


@pytest.mark.parametrize("seed", range(3))
def test_about_half_of_the_things_are_chosen(seed: int) -> None:
    boxes = [(y, x, y + 3, x + 3) for y in range(0, 36, 4) for x in range(0, 56, 4)]
    result = paste_things(scene(1, 10, []), scene(2, 200, boxes), np.random.default_rng(seed))
    assert 0.35 < (len(result.segments) - 1) / len(boxes) < 0.65
