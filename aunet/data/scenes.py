"""A generated scene: its picture, and the annotation that follows from what was painted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from aunet.categories import Categories, Category
from aunet.data.coco_panoptic import measure_segments
from aunet.data.outlines import THINGS
from aunet.data.textures import Canvas
from aunet.segments import Segment

Split = Literal["train", "val"]
MIN_PIXELS = 12
"""Segments with fewer visible pixels become void."""
Color = tuple[int, int, int]

_THING_COLORS: dict[str, Color] = {
    "ball": (220, 20, 60),
    "crate": (190, 120, 50),
    "tent": (40, 170, 90),
    "star": (250, 200, 30),
    "ring": (30, 110, 230),
    "cross": (190, 60, 210),
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One generated image with its annotation."""

    image: NDArray[np.uint8]
    """uint8[H, W, 3] RGB."""
    ids: NDArray[np.int32]
    """int32[H, W]; 0 is void."""
    segments: tuple[Segment, ...]


def categories_of(stuff: Mapping[str, Color]) -> Categories:
    """The six things, and the given kinds of stuff with their colours."""
    return Categories(
        tuple(
            Category(id=number, name=name, is_thing=name in THINGS, color=color)
            for number, (name, color) in enumerate((_THING_COLORS | dict(stuff)).items(), start=1)
        )
    )


def annotated(
    rng: Generator,
    canvas: Canvas,
    labels: NDArray[np.int32],
    painted: Sequence[tuple[int, bool]],
    categories: Categories,
) -> Scene:
    """The scene that was painted; `rng` draws its segments' ids.

    Args:
        labels: int32[H, W] of positions in `painted`; 0 is void.
        painted: category id of each label, and whether it is a crowd.
    """
    counts = np.bincount(labels.ravel(), minlength=len(painted))
    id_of = np.zeros(len(painted), dtype=np.int32)
    taken = {0}
    for label in np.flatnonzero(counts >= MIN_PIXELS).tolist():
        if label:
            id_of[label] = _segment_id(rng, categories.by_id[painted[label][0]].color or (0, 0, 0), taken)
    ids = id_of[labels]
    of_id = {int(i): painted[label] for label, i in enumerate(id_of) if i}
    segments = []
    for segment_id, (area, bbox) in measure_segments(ids).items():
        category_id, is_crowd = of_id[segment_id]
        is_thing = categories.by_id[category_id].is_thing
        segments.append(Segment(segment_id, category_id, is_thing, area, is_crowd=is_crowd, bbox=bbox))
    return Scene(image=(np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8), ids=ids, segments=tuple(segments))


def _segment_id(rng: Generator, color: Color, taken: set[int]) -> int:
    """An id whose colour is near its category's, as in COCO; added to `taken`."""
    while True:
        jitter = rng.integers(-24, 25, size=3).tolist()
        red, green, blue = (min(max(c + j, 0), 255) for c, j in zip(color, jitter, strict=True))
        segment_id = red + 256 * green + 65536 * blue
        if segment_id not in taken:
            taken.add(segment_id)
            return segment_id
