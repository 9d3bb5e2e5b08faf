"""Drawing: sizes, colours that mean something, names only where there is room."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aunet.categories import Categories, Category
from aunet.drawing import category_colors, draw_panoptic, enlarge, side_by_side
from aunet.structures import Segment

CATEGORIES = Categories(
    (
        Category(id=1, name="car", is_thing=True, color=(200, 0, 0)),
        Category(id=2, name="road", is_thing=False, color=(0, 0, 200)),
        Category(id=3, name="a name far too long to stand in any segment of such a small picture", is_thing=True),
    )
)


def scene() -> tuple[np.ndarray, np.ndarray, list[Segment]]:
    ids = np.zeros((128, 160), np.int32)
    ids[64:], ids[10:50, 10:70], ids[10:50, 80:140] = 7, 8, 1_000_000
    segments = [Segment(7, 2, False, 0), Segment(8, 1, True, 0), Segment(1_000_000, 1, True, 0)]
    return np.full((128, 160, 3), 128, np.uint8), ids, segments


def test_small_images_are_enlarged_by_a_whole_number_and_large_ones_stay() -> None:
    image, ids, segments = scene()
    assert draw_panoptic(image, ids, segments, CATEGORIES).shape == (3 * 128, 3 * 160, 3)
    large = draw_panoptic(image.repeat(4, 0).repeat(4, 1), ids.repeat(4, 0).repeat(4, 1), segments, CATEGORIES)
    assert large.shape == (512, 640, 3) and large.dtype == np.uint8


def test_segments_take_their_categorys_colour_instances_a_shade_each_and_void_is_dark() -> None:
    image, ids, segments = scene()
    picture = draw_panoptic(image, torch.from_numpy(ids), segments, CATEGORIES).astype(int)
    first, second, road, void = (picture[3 * y + 1, 3 * x + 1] for y, x in ((12, 12), (12, 85), (120, 5), (2, 2)))
    assert first[0] > first[1] + 40 and second[0] > second[1] + 40 and road[2] > road[0] + 40
    assert np.abs(first - second).max() > 20
    assert void.max() < 60 and np.ptp(void) <= 1


def test_names_stand_only_where_there_is_room() -> None:
    image, ids, segments = scene()
    ids[60:64, :4] = 9
    with_name = draw_panoptic(image, ids, [*segments, Segment(9, 1, True, 0)], CATEGORIES)
    white = (with_name == 255).all(-1)
    assert white[200:].any(), "the road bears its name"
    assert not white[180:192, 1:11].any(), "four pixels do not"
    with_long_name = [Segment(i, 3, True, 0) for i in (7, 8, 1_000_000)]
    assert draw_panoptic(image, ids, with_long_name, CATEGORIES).shape == with_name.shape


def test_an_empty_map_and_ids_without_segment_are_void() -> None:
    image, ids, _ = scene()
    assert draw_panoptic(image, ids, [], CATEGORIES).max() < 60
    assert draw_panoptic(image, ids * 0, [], CATEGORIES).max() < 60


def test_the_inputs_stay_as_they_are() -> None:
    image, ids, segments = scene()
    before = image.copy(), ids.copy()
    draw_panoptic(image, ids, segments, CATEGORIES)
    assert (image == before[0]).all() and (ids == before[1]).all()


def test_a_map_of_another_size_is_refused() -> None:
    image, ids, segments = scene()
    with pytest.raises(ValueError, match=r"image must have shape \[64, 160, 3\] as ids has, got \[128, 160, 3\]"):
        draw_panoptic(image, ids[:64], segments, CATEGORIES)


def test_palette_colours_differ() -> None:
    many = Categories(tuple(Category(id=i, name=str(i), is_thing=i % 2 == 0) for i in range(1, 41)))
    assert len(set(category_colors(many).values())) == 40
    assert category_colors(CATEGORIES)[1] == (200, 0, 0)


def test_side_by_side_enlarges_to_the_tallest_and_needs_a_title_each() -> None:
    small, large = np.zeros((20, 30, 3), np.uint8), np.zeros((60, 90, 3), np.uint8)
    assert side_by_side([small, large], ["image", "prediction"]).shape == (60 + 26, 90 + 90 + 6, 3)
    with pytest.raises(ValueError, match="one title per picture, got 2 pictures and 1 titles"):
        side_by_side([small, large], ["image"])


def test_enlarge_by_one_is_the_same_picture() -> None:
    image, _, _ = scene()
    assert enlarge(image, 1) is image and enlarge(image, 2).shape == (256, 320, 3)
