"""Generated scenes in COCO panoptic format: things on textured stuff, the same for the same seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from aunet.categories import Categories
from aunet.data import ambiguous
from aunet.data.coco_panoptic import encode_panoptic
from aunet.data.outlines import THINGS, Thing, draw_thing, paint_thing
from aunet.data.scenes import Scene, Split, annotated, categories_of
from aunet.data.textures import TEXTURES, Canvas, Plane, noise, rgb, ridge, smoothstep

Kind = Literal["landscape", "ambiguous"]
VERSION = 1
"""Rises when the same seed gives other scenes than before."""
CATEGORIES = categories_of(
    {
        "sky": (150, 195, 235),
        "mountain": (125, 115, 140),
        "water": (50, 110, 165),
        "sand": (220, 195, 145),
        "grass": (115, 160, 75),
        "road": (95, 95, 100),
        "wall": (160, 95, 75),
    }
)
"""Six things and seven kinds of stuff."""
_ID = {c.name: c.id for c in CATEGORIES.entries}


def make_scene(seed: int, split: Split, index: int, height: int = 128, width: int = 160) -> Scene:
    """Scene number `index` of a split: a pure function of its arguments, equal on every machine."""
    rng = np.random.default_rng([seed, ("train", "val").index(split), index])
    stuff, canvas = _landscape(rng, height, width)
    labels = stuff.astype(np.int32)
    categories: list[tuple[int, bool]] = [(_ID.get(name, 0), False) for name in ("", *TEXTURES)]
    for group in _things(rng, height, width):
        categories.append((_ID[group[0].kind], len(group) > 1))
        for thing in group:
            window, covered = paint_thing(canvas, thing)
            labels[window][covered] = len(categories) - 1
    _veil(rng, canvas, labels)
    return annotated(rng, canvas, labels, categories, CATEGORIES)


KINDS: dict[Kind, tuple[Callable[[int, Split, int, int, int], Scene], Categories]] = {
    "landscape": (make_scene, CATEGORIES),
    "ambiguous": (ambiguous.make_scene, ambiguous.CATEGORIES),
}
"""What draws a scene of each kind, and its categories."""


def write_scenes(
    folder: Path,
    *,
    num_train: int,
    num_val: int,
    height: int = 128,
    width: int = 160,
    seed: int = 0,
    kind: Kind = "landscape",
) -> None:
    """Write both splits as a COCO panoptic folder: `train/`, `val/` and `annotations/panoptic_*`.

    The same arguments give the same files, byte for byte, with the same versions of Pillow and numpy.
    """
    draw, known = KINDS[kind]
    splits: tuple[tuple[Split, int], ...] = (("train", num_train), ("val", num_val))
    for split, count in splits:
        images_folder, maps_folder = folder / split, folder / "annotations" / f"panoptic_{split}"
        images_folder.mkdir(parents=True, exist_ok=True)
        maps_folder.mkdir(parents=True, exist_ok=True)
        images, annotations = [], []
        for index in range(count):
            scene, name = draw(seed, split, index, height, width), f"{index:06d}"
            Image.fromarray(scene.image).save(images_folder / f"{name}.jpg", quality=92, subsampling=0)
            (maps_folder / f"{name}.png").write_bytes(encode_panoptic(scene.ids))
            images.append({"id": index + 1, "file_name": f"{name}.jpg", "height": height, "width": width})
            infos = [
                {
                    "id": s.id,
                    "category_id": s.category_id,
                    "iscrowd": int(s.is_crowd),
                    "area": s.area,
                    "bbox": s.bbox,
                }
                for s in scene.segments
            ]
            annotations.append({"image_id": index + 1, "file_name": f"{name}.png", "segments_info": infos})
        panoptic_json = {
            "info": {"description": f"generated scenes, version {VERSION}, seed {seed}"},
            "images": images,
            "annotations": annotations,
            "categories": known.to_json(),
        }
        (folder / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(panoptic_json), encoding="utf-8")


def _landscape(rng: Generator, height: int, width: int) -> tuple[NDArray[np.int8], Canvas]:
    """Lay out the stuff and paint it: int8[H, W] of 1 + position in `TEXTURES`, and the canvas."""
    label = {name: number for number, name in enumerate(TEXTURES, start=1)}
    y = np.arange(height, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)[None, :]
    stuff = np.full((height, width), label["sky"], dtype=np.int8)
    horizon = height * (0.26 + 0.26 * rng.random())
    if rng.random() < 0.55:
        peaks = horizon - height * (0.1 + 0.12 * rng.random()) * (1 + ridge(rng, width, width / 3))
        stuff[y > peaks] = label["mountain"]
    bands = [("water", "sand", "grass")[i] for i in rng.permutation(3)[: 1 + int(rng.integers(1, 4)) % 3]]
    top = horizon
    for band in bands:
        slope = (x - width / 2) * ((rng.random() - 0.5) * (0.05 if band is bands[0] else 0.3))
        edge = top + slope + ridge(rng, width, width / 4) * (height * 0.03)
        stuff[y > edge] = label[band]
        top += (height - horizon) * (0.25 + 0.3 * rng.random())
    marks: Plane | None = None
    if rng.random() < 0.5:
        on_road, marks = _road(rng, y, x, horizon)
        stuff[on_road & (stuff != label["sky"]) & (stuff != label["mountain"])] = label["road"]
    if rng.random() < 0.45:
        reach = width * (0.18 + 0.3 * rng.random())
        inside = x < reach if rng.random() < 0.5 else x > width - reach
        crown = height * (0.1 + 0.2 * rng.random()) + (x // 9 % 2) * 5
        stuff[inside & (y > crown) & (y < horizon + height * (0.1 + 0.2 * rng.random()))] = label["wall"]

    canvas = np.zeros((height, width, 3), dtype=np.float32)
    for name, texture in TEXTURES.items():
        covered = stuff == label[name]
        used = np.flatnonzero(covered.any(axis=1))
        if used.size:
            rows = slice(int(used[0]), int(used[-1]) + 1)
            np.copyto(canvas[rows], texture(rng, rows.stop - rows.start, width), where=covered[rows, :, None])
    if marks is not None:
        white = marks * (stuff == label["road"])
        canvas += (rgb(236, 232, 220) - canvas) * (white * 0.85)[..., None]
    return stuff, canvas


def _road(rng: Generator, y: Plane, x: Plane, horizon: float) -> tuple[NDArray[np.bool_], Plane]:
    """Where the road runs (bool[H, W]) and its dashes (float32[H, W])."""
    height, width = y.shape[0], x.shape[1]
    if rng.random() < 0.6:  # toward the horizon
        depth = np.clip((y - horizon) / (height - horizon), 0.0, 1)
        start, end = width * (0.25 + 0.5 * rng.random()), width * (0.2 + 0.6 * rng.random())
        off = np.abs(x - start - (end - start) * depth * depth)
        half = 2 + depth * (width * (0.16 + 0.12 * rng.random()))
        dash = np.floor(4 / (depth + 0.12)) % 2 == 0
        return (off < half) & (depth > 0), ((off < half * 0.07 + 0.3) & dash).astype(np.float32)
    middle = height * (0.7 + 0.15 * rng.random()) + (x - width / 2) * (0.2 * (rng.random() - 0.5))
    off = np.abs(y - middle)
    half = height * (0.09 + 0.05 * rng.random())
    dashes = (off < 1.2) & (x // 10 % 2 == 0)
    return off < half, (dashes | (np.abs(off - half * 0.86) < 0.7)).astype(np.float32)


def _things(rng: Generator, height: int, width: int) -> list[list[Thing]]:
    """Groups in painting order, far to near: one thing each, or the members of a crowd."""
    unit = min(height, width) / 128
    if rng.random() < 0.06:
        return []
    placed: list[tuple[float, float, float]] = []
    groups: list[list[Thing]] = []
    for _ in range(int(rng.integers(3, 8))):
        radius = unit * (5 + 3.5 * rng.random() if rng.random() < 0.15 else 10 + 17 * rng.random() * rng.random())
        radius *= 1.15
        kind = THINGS[int(rng.integers(len(THINGS)))]
        for _attempt in range(6):
            x, y = width * (0.05 + 0.9 * rng.random()), height * (0.12 + 0.82 * rng.random())
            if placed and rng.random() < 0.4:  # beside or behind another
                near = placed[int(rng.integers(len(placed)))]
                x = near[0] + (radius + near[2]) * 1.6 * (rng.random() - 0.5)
                y = near[1] + (radius + near[2]) * 1.2 * (rng.random() - 0.5)
            gaps = [((x - a) ** 2 + (y - b) ** 2) / (radius + r) ** 2 for a, b, r in placed]
            if 0 <= x < width and 0 <= y < height and min(gaps, default=1.0) > 0.3:
                placed.append((x, y, radius))
                groups.append([draw_thing(rng, kind, x, y, radius)])
                break
    if rng.random() < 0.14:
        groups.append(_crowd(rng, height, width, unit))
    return sorted(groups, key=lambda g: g[0].y)


def _crowd(rng: Generator, height: int, width: int, unit: float) -> list[Thing]:
    """Many small things of one kind, close together: annotated as one crowd segment."""
    kind = THINGS[int(rng.integers(len(THINGS)))]
    x, y = width * (0.2 + 0.6 * rng.random()), height * (0.3 + 0.6 * rng.random())
    centers = [(x + unit * 44 * (rng.random() - 0.5), y + unit * 24 * (rng.random() - 0.5)) for _ in range(14)]
    centers.sort(key=lambda center: center[1])
    return [draw_thing(rng, kind, a, b, unit * (4 + 2 * rng.random())) for a, b in centers]


def _veil(rng: Generator, canvas: Canvas, labels: NDArray[np.int32]) -> None:
    """Sometimes a bank of fog or a dark border, which become void; in place."""
    height, width = labels.shape
    if rng.random() < 0.22:
        y = (np.arange(height, dtype=np.float32) - (height * rng.random()))[:, None]
        x = (np.arange(width, dtype=np.float32) - (width * rng.random()))[None, :]
        size = min(height, width) * (0.12 + 0.1 * rng.random())
        spread = (x * x * 0.3 + y * y) / (size * size) + noise(rng, height, width, 9, 14)
        fog = 1 - smoothstep(0.9, 1.7, spread)
        grey = 0.72 + 0.2 * noise(rng, height, width, 8, 12)
        canvas += (grey[..., None] - canvas) * (fog * 0.96)[..., None]
        labels[fog > 0.4] = 0
    if rng.random() < 0.08:
        border = int(rng.integers(3, 7))
        inner = np.zeros((height, width), dtype=bool)
        inner[border:-border, border:-border] = True
        canvas[~inner] = rgb(30, 28, 32)
        labels[~inner] = 0
