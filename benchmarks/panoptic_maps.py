"""Generated pairs of a true and a predicted panoptic map, in memory and as folders; no image belongs to them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aunet.data.coco_panoptic import encode_panoptic

HEIGHT, WIDTH = 480, 640
NUM_THINGS = 80
CATEGORIES = [{"id": i, "name": f"class {i}", "isthing": int(i <= NUM_THINGS)} for i in range(1, 134)]
"""80 things and 53 stuff, as in COCO."""
Annotated = tuple[np.ndarray, list[dict[str, Any]]]
"""Ids int32[H, W], and `segments_info`."""


def make_pair(
    rng: np.random.Generator, height: int = HEIGHT, width: int = WIDTH, num_categories: int = 133, crowds: float = 0.03
) -> tuple[Annotated, Annotated]:
    """A true and a predicted map: segments with wavy edges; the prediction is bent, merged and renamed a little."""

    def smooth(cells: int, size: float) -> np.ndarray:
        coarse = Image.fromarray(rng.normal(0, size * height / HEIGHT, (cells, cells)).astype(np.float32))
        return np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))

    num, (y, x) = int(rng.integers(6, 22)), np.mgrid[:height, :width].astype(np.float32)
    x, y = x + smooth(9, 18) + smooth(60, 2), y + smooth(9, 18) + smooth(60, 2)
    seeds = rng.random((num, 2)) * (width, height)
    weights = rng.random(num) * width * height / 75
    category = rng.integers(1, num_categories + 1, num)

    def annotated(dx: Any, dy: Any, is_predicted: bool) -> Annotated:
        distances = [(x + dx - a) ** 2 + (y + dy - b) ** 2 - w for (a, b), w in zip(seeds, weights, strict=True)]
        colors = rng.choice(256**3 - 1, num, replace=False) + 1
        if is_predicted:
            colors[rng.integers(num)] = colors[0]
        colors[-1] = 0
        ids = colors[np.argmin(distances, axis=0)].astype(np.int32)
        segments = []
        for i, area in zip(*(a.tolist() for a in np.unique(ids[ids > 0], return_counts=True)), strict=True):
            own = int(category[np.flatnonzero(colors == i)[0]])
            own = int(rng.integers(1, num_categories + 1)) if is_predicted and rng.random() < 0.15 else own
            crowd = int(not is_predicted and own <= NUM_THINGS and rng.random() < crowds)
            segments.append({"id": i, "category_id": own, "iscrowd": crowd, "area": area})
        return ids, segments

    return annotated(0, 0, False), annotated(smooth(12, 4), smooth(12, 4), True)


def write_folders(root: Path, pairs: list[tuple[Annotated, Annotated]], count: int) -> list[str]:
    """`count` pairs, the given ones again and again; the paths in the order of `score`'s arguments."""
    paths = []
    for side, name in enumerate(("true", "predicted")):
        (root / name).mkdir(parents=True)
        entries = []
        for n in range(count):
            path, first = root / name / f"{n:06}.png", root / name / f"{n % len(pairs):06}.png"
            ids, segments = pairs[n % len(pairs)][side]
            if n < len(pairs):
                path.write_bytes(encode_panoptic(ids))
            else:
                os.link(first, path)
            entries.append({"image_id": n, "file_name": path.name, "segments_info": segments})
        (root / f"{name}.json").write_text(json.dumps({"annotations": entries, "categories": CATEGORIES}))
        paths += [str(root / f"{name}.json"), str(root / name)]
    return paths
