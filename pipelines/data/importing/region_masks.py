"""Outlines and run lengths to masks. A pixel belongs to an outline where its centre lies inside, as pycocotools counts.

Coordinates are continuous: pixel (x, y) spans x … x+1 and y … y+1. Nothing that its C code would trust blindly reaches
pycocotools.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from aunet.data.instance_checks import finite_numbers, mask_area
from pipelines.data.importing.record import Drawing, Region, Rle, Size

Point = tuple[float, float]
FURTHEST = 1e7
"""Pixels beyond which no coordinate means anything."""
ELLIPSE_POINTS = 180
MIN_POINTS = 3
"""Of a polygon."""


def points_of(values: Any) -> list[Point]:
    """[[x, y], …] or [x, y, x, y, …] → points.

    Raises:
        ValueError: they are something else, or not finite.
    """
    if isinstance(values, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in values):
        values = [number for pair in values for number in pair]
    numbers = finite_numbers(values)
    if numbers is None or len(numbers) % 2 or any(abs(number) > FURTHEST for number in numbers):
        raise ValueError(f"points {values!r:.60} are not pairs of finite numbers")
    return list(zip(numbers[0::2], numbers[1::2], strict=True))


def polygon_mask(points: Sequence[Point], size: Size) -> tuple[Rle, bool]:
    """The pixels inside a polygon, and whether it was cut at the edge of the image.

    Raises:
        ValueError: fewer than three points.
    """
    if len(points) < MIN_POINTS:
        raise ValueError(f"a polygon of {len(points)} points; three are the least")
    width, height = size
    inside = _clipped(points, size)
    is_cut = inside != list(points)
    if len(inside) < MIN_POINTS:
        return empty_mask(size), is_cut
    flat = [coordinate for point in inside for coordinate in point]
    return coco_mask.merge(coco_mask.frPyObjects([flat], height, width)), is_cut  # type: ignore[arg-type]


def box_points(x1: float, y1: float, x2: float, y2: float, degrees: float = 0.0) -> list[Point]:
    """The corners of a box, turned clockwise around its centre."""
    x, y, cosine, sine = (x1 + x2) / 2, (y1 + y2) / 2, math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    if not degrees:
        return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    half = (x2 - x1) / 2, (y2 - y1) / 2
    corners = [(-half[0], -half[1]), (half[0], -half[1]), half, (-half[0], half[1])]
    return [(x + u * cosine - v * sine, y + u * sine + v * cosine) for u, v in corners]


def ellipse_points(x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0.0) -> list[Point]:
    """Points on an ellipse, turned clockwise."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    angles = [2 * math.pi * number / ELLIPSE_POINTS for number in range(ELLIPSE_POINTS)]
    offsets = [(radius_x * math.cos(angle), radius_y * math.sin(angle)) for angle in angles]
    return [(x + u * cosine - v * sine, y + u * sine + v * cosine) for u, v in offsets]


def circle_mask(x: float, y: float, radius: float, size: Size) -> Rle:
    """The pixels whose centres lie inside a circle."""
    width, height = size
    rows, columns = np.arange(height) + 0.5 - y, np.arange(width) + 0.5 - x
    return array_mask(rows[:, None] ** 2 + columns[None, :] ** 2 < radius * radius)


def window_mask(mask: NDArray[np.bool_], left: int, top: int, size: Size) -> tuple[Rle, bool]:
    """bool[h, w] with its upper left corner at (left, top) → a mask of the image, and whether it was cut there."""
    width, height = size
    whole_image = np.zeros((height, width), dtype=bool)
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + mask.shape[1], width), min(top + mask.shape[0], height)
    if x1 < x2 and y1 < y2:
        whole_image[y1:y2, x1:x2] = mask[y1 - top : y2 - top, x1 - left : x2 - left]
    return array_mask(whole_image), int(whole_image.sum()) < int(mask.sum())


def array_mask(mask: NDArray[np.bool_]) -> Rle:
    """bool[H, W] → a mask."""
    return dict(coco_mask.encode(np.asfortranarray(mask.view(np.uint8))))


def empty_mask(size: Size) -> Rle:
    """A mask without any pixel."""
    return array_mask(np.zeros((size[1], size[0]), dtype=bool))


def drawable(segmentation: Any) -> tuple[Any, int]:
    """A segmentation without outlines of no point, or of one or two beside polygons, and how many those are.

    Raises:
        ValueError: an outline is not a list of points.
    """
    if not isinstance(segmentation, list):
        return segmentation, 0
    counts = [len(points_of(outline)) for outline in segmentation]
    least = MIN_POINTS if max(counts, default=0) >= MIN_POINTS else 1
    kept = [outline for outline, count in zip(segmentation, counts, strict=True) if count >= least]
    return kept, len(segmentation) - len(kept)


def coco_segmentation(segmentation: Any, size: Size) -> tuple[Rle, bool]:
    """Polygons or run lengths of an instances JSON, and whether a polygon was cut at the edge of the image.

    Raises:
        ValueError: they cannot be drawn on an image of this size.
    """
    width, height = size
    if isinstance(segmentation, list):
        outlines = [polygon_mask(points_of(polygon), size) for polygon in segmentation]
        if not outlines:
            raise ValueError("no polygon")
        return joined([mask for mask, _ in outlines]), any(is_cut for _, is_cut in outlines)
    mask_area(segmentation, height, width)  # refuses what the decoder would trust
    if isinstance(segmentation["counts"], list):
        whole_counts = {"size": [height, width], "counts": [int(run) for run in segmentation["counts"]]}
        return coco_mask.frPyObjects(whole_counts, height, width), False  # type: ignore[arg-type]
    return {"size": [height, width], "counts": segmentation["counts"].encode("ascii")}, False


def joined(masks: Sequence[Rle]) -> Rle:
    """The pixels of any of some masks."""
    return masks[0] if len(masks) == 1 else coco_mask.merge(list(masks))  # type: ignore[arg-type]


def join_groups(drawing: Drawing, groups: Mapping[tuple[Any, str], list[int]]) -> None:
    """Make one region of the shapes of one group and label, at the position of its last one."""
    gone: set[int] = set()
    for numbers in groups.values():
        if len(numbers) > 1:
            regions = [drawing.regions[n] for n in numbers]
            first = regions[0]
            drawing.regions[numbers[-1]] = Region(
                category_id=first.category_id,
                mask=joined([region.mask for region in regions]),
                is_crowd=any(region.is_crowd for region in regions),
                z=max(region.z for region in regions),
            )
            gone.update(numbers[:-1])
            drawing.changed["regions-joined"] += len(numbers) - 1
    drawing.regions = [region for n, region in enumerate(drawing.regions) if n not in gone]


def area_of(mask: Rle) -> int:
    """Pixels of a mask."""
    return int(coco_mask.area(mask))  # type: ignore[arg-type]


def pixels_of(mask: Rle) -> NDArray[np.bool_]:
    """bool[H, W]."""
    return coco_mask.decode(mask).view(bool)  # type: ignore[arg-type]


def _clipped(points: Sequence[Point], size: Size) -> list[Point]:
    """A polygon cut at the four edges of the image, one after the other (Sutherland and Hodgman)."""
    inside = list(points)
    for axis in (0, 1):
        for limit, sign in ((0.0, 1.0), (float(size[axis]), -1.0)):
            if all((point[axis] - limit) * sign >= 0 for point in inside):
                continue
            inside = _cut(inside, axis, limit, sign)
    return inside


def _cut(points: list[Point], axis: int, limit: float, sign: float) -> list[Point]:
    kept: list[Point] = []
    for start, end in zip(points[-1:] + points[:-1], points, strict=True):
        from_edge, to_edge = (start[axis] - limit) * sign, (end[axis] - limit) * sign
        if (from_edge < 0) != (to_edge < 0):
            share = from_edge / (from_edge - to_edge)
            crossing = start[1 - axis] + share * (end[1 - axis] - start[1 - axis])
            kept.append((limit, crossing) if axis == 0 else (crossing, limit))
        if to_edge >= 0:
            kept.append(end)
    return kept
