"""Generated scenes in which figure tells background: two kinds of ground that look the same.

Paths divide a scene into one to three fields. Every field is meadow or pasture, whatever its texture: the two are
painted alike, before it is drawn which is which. Balls, stars and rings lie on meadows, crates, tents and crosses stand
on pastures, one to three on a field and most of its ground far from them. So no part of the ground tells its category.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from aunet.data.outlines import Thing, draw_thing, paint_thing
from aunet.data.scenes import Scene, Split, annotated, categories_of
from aunet.data.textures import Canvas, grass, ridge, road, sand

CATEGORIES = categories_of({"meadow": (120, 180, 80), "pasture": (180, 170, 70), "path": (95, 95, 100)})
"""Six things, two kinds of ground that look the same, and the path between fields."""
KINDS_ON = {"meadow": ("ball", "star", "ring"), "pasture": ("crate", "tent", "cross")}
"""What lies or stands on each kind of ground, and nowhere else."""
PATH_WIDTH = 7
"""Pixels of a path in a scene 128 pixels high."""
_ID = {c.name: c.id for c in CATEGORIES.entries}
_STREAM = 1
"""Tells the random numbers of these scenes from those of others with the same seed."""


def make_scene(seed: int, split: Split, index: int, height: int = 128, width: int = 160) -> Scene:
    """Scene number `index` of a split: a pure function of its arguments, equal on every machine."""
    rng = np.random.default_rng([seed, ("train", "val").index(split), index, _STREAM])
    fields, canvas = _fields(rng, height, width)
    grounds = [("meadow", "pasture")[int(rng.integers(2))] for _ in range(int(fields.max()))]
    ground_id = np.array([_ID["path"], *(_ID[name] for name in grounds)])
    label_of = {category_id: label for label, category_id in enumerate(np.unique(ground_id).tolist(), start=1)}
    labels = np.array([label_of[n] for n in ground_id.tolist()], np.int32)[fields]
    painted = [(0, False), *((category_id, False) for category_id in label_of)]
    placed: list[Thing] = []
    for field, name in enumerate(grounds, start=1):
        own = _things(rng, fields == field, KINDS_ON[name], placed)
        placed += own
        if not own:  # nobody can tell what it is
            labels[fields == field] = 0
    for thing in sorted(placed, key=lambda thing: thing.y):
        painted.append((_ID[thing.kind], False))
        window, covered = paint_thing(canvas, thing)
        labels[window][covered] = len(painted) - 1
    return annotated(rng, canvas, labels, painted, CATEGORIES)


def _fields(rng: Generator, height: int, width: int) -> tuple[NDArray[np.intp], Canvas]:
    """Number of the field of each pixel, int[H, W] from 1 on and 0 on paths; and the ground painted on a canvas."""
    is_upright = rng.random() < 0.5
    length, breadth = (width, height) if is_upright else (height, width)
    number = 1 + int(rng.integers(3))
    across = np.arange(length, dtype=np.float32)[None, :]
    fields = np.ones((breadth, length), np.intp)
    on_path = np.zeros((breadth, length), np.bool_)
    for cut in range(1, number):
        middle = length * (cut + 0.3 * (rng.random() - 0.5)) / number
        line = middle + ridge(rng, breadth, breadth / 3)[:, None] * (length * 0.03)
        fields += across > line
        on_path |= np.abs(across - line) < PATH_WIDTH / 2 * min(height, width) / 128
    fields[on_path] = 0
    fields = fields if is_upright else np.ascontiguousarray(fields.T)
    canvas = road(rng, height, width)
    for field in range(1, number + 1):
        texture = (grass, sand)[int(rng.integers(2))]
        np.copyto(canvas, texture(rng, height, width), where=(fields == field)[..., None])
    return fields, canvas


def _things(rng: Generator, is_field: NDArray[np.bool_], kinds: tuple[str, ...], placed: list[Thing]) -> list[Thing]:
    """One to three things in a field, beside those that are placed already; none where there is no room."""
    rows, columns = np.nonzero(is_field)
    unit = min(is_field.shape) / 128
    own: list[Thing] = []
    wanted = 1 + int(rng.integers(3))
    for _attempt in range(40):
        radius = unit * (7 + 6 * rng.random())
        at = int(rng.integers(len(rows)))
        y, x = float(rows[at]), float(columns[at])
        gaps = [((x - t.x) ** 2 + (y - t.y) ** 2) / (radius + t.radius) ** 2 for t in (*placed, *own)]
        if min(gaps, default=2.0) > 1.2:
            own.append(draw_thing(rng, kinds[int(rng.integers(len(kinds)))], x, y, radius))
        if len(own) == wanted:
            break
    return own
