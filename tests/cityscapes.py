"""Scenes in the layout in which Cityscapes is distributed, and its official conversion said once more in slow words."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STUFF = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
}
THINGS = {24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle"}
IGNORED = {
    0: "unlabeled",
    1: "ego vehicle",
    2: "rectification border",
    3: "out of roi",
    4: "static",
    5: "dynamic",
    6: "ground",
    9: "parking",
    10: "rail track",
    14: "guard rail",
    15: "bridge",
    16: "tunnel",
    18: "polegroup",
    29: "caravan",
    30: "trailer",
    -1: "license plate",
}
NUMBER = {name: number for table in (STUFF, THINGS, IGNORED) for number, name in table.items()}
WITH_INSTANCES = {*THINGS.values(), "caravan", "trailer"}

Shape = tuple[str, int, int, int, int]
"""Name as in `*_polygons.json` ("cargroup" is a group of cars), then x1, y1, x2, y2, painted in order."""

EVERYTHING: tuple[Shape, ...] = (
    ("sky", 0, 0, 64, 10),
    ("building", 0, 8, 40, 24),
    ("vegetation", 40, 8, 64, 24),
    ("road", 0, 24, 64, 48),
    ("sidewalk", 0, 24, 14, 40),
    ("parking", 50, 26, 60, 30),
    ("rail track", 14, 24, 18, 40),
    ("wall", 0, 12, 6, 20),
    ("fence", 6, 16, 12, 20),
    ("guard rail", 12, 16, 16, 20),
    ("bridge", 16, 4, 24, 8),
    ("tunnel", 24, 4, 30, 8),
    ("terrain", 42, 20, 50, 24),
    ("pole", 30, 2, 31, 30),
    ("polegroup", 33, 2, 35, 30),
    ("traffic sign", 29, 4, 32, 7),
    ("traffic light", 34, 4, 36, 8),
    ("static", 60, 30, 64, 34),
    ("dynamic", 61, 34, 64, 36),
    ("ground", 58, 36, 64, 38),
    ("car", 20, 24, 32, 32),
    ("license plate", 24, 28, 27, 30),
    ("car", 26, 26, 40, 36),
    ("cargroup", 40, 24, 50, 28),
    ("truck", 44, 10, 52, 26),
    ("bus", 54, 10, 62, 22),
    ("train", 0, 26, 4, 34),
    ("motorcycle", 46, 32, 50, 36),
    ("caravan", 52, 30, 57, 34),
    ("trailer", 57, 31, 60, 34),
    ("person", 10, 30, 13, 40),
    ("person", 14, 30, 17, 40),
    ("persongroup", 18, 34, 26, 40),
    ("rider", 46, 28, 49, 33),
    ("bicycle", 30, 36, 42, 42),
    ("pole", 35, 30, 37, 44),
    ("bicyclegroup", 4, 36, 9, 40),
    ("unlabeled", 20, 40, 24, 42),
    ("ego vehicle", 8, 44, 56, 48),
    ("rectification border", 0, 0, 1, 48),
    ("out of roi", 63, 0, 64, 48),
)
"""Every label but the license plate's own number, groups, and a bicycle that a pole cuts in two."""


def paint(shapes: Sequence[Shape], height: int = 48, width: int = 64) -> NDArray[np.uint16]:
    """The instanceIds that the data set's tools make of shapes: license plates, of negative number, stay out."""
    values = np.zeros((height, width), np.uint16)
    counts: dict[str, int] = {}
    for name, x1, y1, x2, y2 in shapes:
        one = name if name in NUMBER else name.removesuffix("group")
        value = NUMBER[one]
        if one in WITH_INSTANCES and name == one:
            value, counts[one] = value * 1000 + counts.get(one, 0), counts.get(one, 0) + 1
        if value >= 0:
            values[y1:y2, x1:x2] = value
    return values


def png(pixels: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_frame(root: Path, split: str, frame: str, values: NDArray[np.uint16], shapes: Sequence[Shape] = ()) -> None:
    """One image with the four files of its annotation."""
    city = frame.split("_")[0]
    images, annotations = root / "leftImg8bit" / split / city, root / "gtFine" / split / city
    for folder in (images, annotations):
        folder.mkdir(parents=True, exist_ok=True)
    labels = np.where(values < 1000, values, values // 1000).astype(np.uint8)
    grey = (labels.astype(np.uint8) * 7)[..., None]
    (images / f"{frame}_leftImg8bit.png").write_bytes(png(np.repeat(grey, 3, axis=2)))
    (annotations / f"{frame}_gtFine_instanceIds.png").write_bytes(png(values))
    (annotations / f"{frame}_gtFine_labelIds.png").write_bytes(png(labels))
    (annotations / f"{frame}_gtFine_color.png").write_bytes(png(np.repeat(grey, 4, axis=2)))
    objects = [{"label": n, "polygon": [[a, b], [c, b], [c, d], [a, d]]} for n, a, b, c, d in shapes]
    polygons = {"imgHeight": values.shape[0], "imgWidth": values.shape[1], "objects": objects}
    (annotations / f"{frame}_gtFine_polygons.json").write_text(json.dumps(polygons))


def official(values: NDArray[np.uint16]) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    """What the official conversion makes of an instanceIds PNG, pixel by pixel: RGB picture and segments_info."""
    height, width = values.shape
    picture = np.zeros((height, width, 3), np.uint8)
    places: dict[int, list[tuple[int, int]]] = {}
    for y in range(height):
        for x in range(width):
            places.setdefault(int(values[y, x]), []).append((x, y))
    segments = []
    for value in sorted(places):
        label = value if value < 1000 else value // 1000
        if value == 65535:  # -1 in 16 bits
            label = -1
        if label in IGNORED:
            continue
        crowd = 1 if value < 1000 and label in THINGS else 0
        for x, y in places[value]:
            picture[y, x] = [value % 256, value // 256, 0]
        xs, ys = [x for x, _ in places[value]], [y for _, y in places[value]]
        box = [min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1]
        category = NUMBER[STUFF.get(label) or THINGS[label]]
        entry = {"id": value, "category_id": category, "area": len(xs), "bbox": box, "iscrowd": crowd}
        segments.append(entry)
    return picture, segments
