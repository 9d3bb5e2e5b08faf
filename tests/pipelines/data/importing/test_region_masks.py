"""Outlines and run lengths to pixels: the convention, the edge of the image, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pipelines.data.importing.region_masks import (
    area_of,
    array_mask,
    box_points,
    circle_mask,
    coco_segmentation,
    drawable,
    ellipse_points,
    pixels_of,
    points_of,
    polygon_mask,
    window_mask,
)
from tests.importers.contours import outlines

SIZE = (20, 10)


def test_a_box_along_pixel_edges_covers_the_pixels_inside() -> None:
    mask, is_cut = polygon_mask(box_points(3, 2, 7, 5), SIZE)
    expected = np.zeros((10, 20), dtype=bool)
    expected[2:5, 3:7] = True
    assert np.array_equal(pixels_of(mask), expected) and not is_cut


def test_a_polygon_beyond_the_edge_is_cut_there() -> None:
    mask, is_cut = polygon_mask(box_points(-5, -5, 4, 3), SIZE)
    assert area_of(mask) == 12 and is_cut
    mask, is_cut = polygon_mask([(-10, -10), (-2, -10), (-5, -1)], SIZE)
    assert area_of(mask) == 0 and is_cut
    mask, is_cut = polygon_mask(box_points(-1e6, -1e6, 1e6, 1e6), SIZE)
    assert area_of(mask) == 200 and is_cut


def test_a_circle_and_an_ellipse_have_their_area() -> None:
    assert area_of(circle_mask(50, 50, 20, (100, 100))) == pytest.approx(math.pi * 400, rel=0.01)
    mask, _ = polygon_mask(ellipse_points(50, 50, 30, 10, 30), (100, 100))
    assert area_of(mask) == pytest.approx(math.pi * 300, rel=0.03)


def test_a_turned_box_has_its_area() -> None:
    mask, _ = polygon_mask(box_points(30, 40, 70, 60, 90), (100, 100))
    upright = pixels_of(mask)
    assert area_of(mask) == 800 and upright[31:69, 41:59].all()


def test_a_window_is_cut_at_the_edge() -> None:
    mask, is_cut = window_mask(np.ones((4, 4), dtype=bool), 18, 8, SIZE)
    assert area_of(mask) == 4 and is_cut
    mask, is_cut = window_mask(np.ones((4, 4), dtype=bool), 100, 100, SIZE)
    assert area_of(mask) == 0 and is_cut


@pytest.mark.parametrize(
    "values",
    [None, "x", [1, 2, 3], [[1, 2], [3]], [1, 2, math.nan, 4], [1, 2, math.inf, 4], [1, "2"], [True, 1], [1e300, 1]],
)
def test_points_that_are_none(values: Any) -> None:
    with pytest.raises(ValueError, match="not pairs of finite numbers"):
        points_of(values)


@pytest.mark.parametrize(
    "segmentation",
    [
        [],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, math.nan]],
        ["abc"],
        {"size": [10, 20], "counts": [100]},
        {"size": [10, 20], "counts": [-1, 201]},
        {"size": [99, 20], "counts": [200]},
        {"size": [10, 20], "counts": "\x00\x00"},
        {"counts": "abc"},
        7,
    ],
)
def test_segmentations_that_cannot_be_drawn(segmentation: Any) -> None:
    with pytest.raises(ValueError):
        coco_segmentation(segmentation, SIZE)


def test_run_lengths_in_both_forms() -> None:
    mask, _ = coco_segmentation({"size": [10, 20], "counts": [10, 20, 170]}, SIZE)
    assert pixels_of(mask)[:, 1:3].all() and area_of(mask) == 20
    packed = {"size": [10, 20], "counts": mask["counts"].decode()}
    assert coco_segmentation(packed, SIZE)[0]["counts"] == mask["counts"]


@settings(max_examples=60, deadline=None)
@given(bits=st.lists(st.booleans(), min_size=48, max_size=48))
def test_an_outline_gives_its_area_and_its_holes(bits: list[bool]) -> None:
    """The outlines of any mask, drawn: every pixel of it is covered; without holes and corners, no other."""
    mask = np.array(bits).reshape(6, 8)
    covered = np.zeros_like(mask)
    for outline in outlines(mask):
        covered |= pixels_of(polygon_mask([(float(x), float(y)) for x, y in outline], (8, 6))[0])
    assert (covered | ~mask).all()


def test_a_mask_survives() -> None:
    mask = np.random.default_rng(0).random((10, 20)) < 0.5
    assert np.array_equal(pixels_of(array_mask(mask)), mask)


@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        ([[]], ([], 1)),
        ([[1, 2, 3, 4]], ([[1, 2, 3, 4]], 0)),
        ([[], [1, 2]], ([[1, 2]], 1)),
        ([[1, 2, 3, 4], [1, 2, 3, 4, 5, 5]], ([[1, 2, 3, 4, 5, 5]], 1)),
        ({"counts": []}, ({"counts": []}, 0)),
        (None, (None, 0)),
    ],
)
def test_outlines_beside_a_polygon_may_have_no_area(segmentation: Any, expected: tuple[Any, int]) -> None:
    assert drawable(segmentation) == expected


def test_an_outline_that_is_not_one_is_not_dropped() -> None:
    with pytest.raises(ValueError, match="not pairs of finite numbers"):
        drawable([[1, 2, 3], [1, 2, 3, 4, 5, 5]])
