"""Folders in COCO panoptic format to be scored, made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.score import score

CATEGORIES = [
    {"id": 1, "name": "car", "isthing": 1},
    {"id": 5, "name": "dog", "isthing": 1},
    {"id": 9, "name": "road", "isthing": 0},
]


class Folder:
    """A panoptic JSON and its PNGs."""

    def __init__(self, root: Path, maps: dict[int, list[list[int]]], **crowds: bool) -> None:
        self.dir, self.json = root / "png", root / "panoptic.json"
        self.dir.mkdir(parents=True)
        self.content: dict[str, Any] = {"annotations": [], "categories": CATEGORIES}
        for image_id, ids in maps.items():
            segments = [
                {"id": i, "category_id": i % 10, "iscrowd": 0} for i in sorted({i for row in ids for i in row if i})
            ]
            self.content["annotations"].append(
                {"image_id": image_id, "file_name": f"{image_id}.png", "segments_info": segments}
            )
            self.paint(image_id, ids)
        self.save()

    def paint(self, image_id: int, ids: list[list[int]]) -> None:
        rgb = np.stack([np.array(ids) >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)
        Image.fromarray(rgb).save(self.dir / f"{image_id}.png")

    def save(self) -> None:
        self.json.write_text(json.dumps(self.content))


def score_of(true: Folder, predicted: Folder) -> dict[str, Any]:
    return score(true.json, true.dir, predicted.json, predicted.dir).to_json()


def annotation(folder: Folder, index: int = 0) -> dict[str, Any]:
    return folder.content["annotations"][index]


MAPS = {1: [[11, 11, 11, 11], [29, 29, 29, 29]], 2: [[100_001, 100_001, 0, 35]]}
