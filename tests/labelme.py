"""LabelMe folders as people have them: photos in nested folders, a JSON with polygons beside each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aunet.data.coco_json import read_panoptic_json
from aunet.data.coco_panoptic import decode_panoptic

FOLDERS = ("monday", "tuesday/morning", "tuesday/evening")
LEAST_AREA = 12
"""Pixels; nobody outlines less by hand."""


def write_labelme(source: Path, split: str, target: Path, most: int) -> int:
    """Write images of a COCO panoptic folder as a LabelMe folder, evenly chosen from the split.

    Returns:
        How many.
    """
    annotations = source / "annotations"
    path = annotations / f"panoptic_{split}.json"
    read = read_panoptic_json(path.read_bytes(), path.name)
    records = read.images[:: max(1, len(read.images) // most)][:most]
    for number, record in enumerate(records):
        folder = target / FOLDERS[number % len(FOLDERS)]
        folder.mkdir(parents=True, exist_ok=True)
        photo = folder / Path(record.file_name).name
        shutil.copyfile(source / split / record.file_name, photo)
        ids = decode_panoptic((annotations / f"panoptic_{split}" / record.panoptic_name).read_bytes())
        shapes: list[tuple[int, dict[str, Any]]] = []
        for segment in record.segments:
            category = read.categories_by_id[segment.category_id]
            for area, outline in outlines(ids == segment.id):
                shape = {"label": category.name, "points": outline, "shape_type": "polygon", "flags": {}}
                shapes.append((area, shape | {"group_id": segment.id if category.is_thing else None}))
        document = {
            "version": "5.5.0",
            "flags": {},
            "shapes": [shape for _, shape in sorted(shapes, key=lambda entry: -entry[0])],  # small ones on top
            "imagePath": photo.name,
            "imageData": None,
            "imageHeight": record.height,
            "imageWidth": record.width,
        }
        photo.with_suffix(".json").write_text(json.dumps(document))
    return len(records)


def outlines(mask: NDArray[np.bool_]) -> Iterator[tuple[int, list[list[int]]]]:
    """Pixels and outline of each connected area of bool[H, W], each row from its first to its last pixel."""
    for rows in _areas(mask):
        area = sum(right - left for left, right in rows.values())
        if area >= LEAST_AREA:
            lefts = [[x, y + step] for y, (x, _) in sorted(rows.items()) for step in (0, 1)]
            rights = [[x, y + step] for y, (_, x) in sorted(rows.items(), reverse=True) for step in (1, 0)]
            yield area, [*lefts, *rights]


def _areas(mask: NDArray[np.bool_]) -> list[dict[int, tuple[int, int]]]:
    """Of each connected area: row → first column, and the one after the last."""
    areas: list[dict[int, tuple[int, int]]] = []
    above: list[tuple[int, int, dict[int, tuple[int, int]]]] = []
    for y, row in enumerate(mask):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(np.int8), [0]))))
        runs = []
        for left, right in edges.reshape(-1, 2).tolist():
            touching = [area for start, end, area in above if start < right and end > left]
            area = touching[0] if touching else {}
            if not touching:
                areas.append(area)
            first, last = area.get(y, (left, right))
            area[y] = min(first, left), max(last, right)
            runs.append((left, right, area))
        above = runs
    return areas
