"""A split is read entry by entry, so that its JSON may be larger than the memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
from PIL import Image

from aunet.data.coco_panoptic import encode_panoptic
from pipelines.lint.split import SplitUris, lint_split, other_prints

CAPTION = "lorem " * 4000
"""Something that nobody needs, in the entry of each image."""


def write_split(folder: Path, count: int) -> SplitUris:
    uris = SplitUris(
        images=str(folder / "train"),
        panoptic_json=str(folder / "panoptic_train.json"),
        panoptic_dir=str(folder / "panoptic_train"),
    )
    for path in (uris.images, uris.panoptic_dir):
        Path(path).mkdir(parents=True)
    png = encode_panoptic(np.ones((8, 8), np.int32))
    segments = [{"id": 1, "category_id": 1, "iscrowd": 0, "area": 64, "bbox": [0, 0, 8, 8]}]
    names = {number: f"{number}.png" for number in range(count)}
    for number, name in names.items():
        Image.new("RGB", (8, 8), (number % 256, number // 256, 7)).save(Path(uris.images, name))
        Path(uris.panoptic_dir, name).write_bytes(png)
    document = {
        "images": [{"id": n, "file_name": name, "width": 8, "height": 8, "of": CAPTION} for n, name in names.items()],
        "annotations": [{"image_id": n, "file_name": name, "segments_info": segments} for n, name in names.items()],
        "categories": [{"id": 1, "name": "car", "isthing": 1}],
    }
    Path(uris.panoptic_json).write_text(json.dumps(document))
    return uris


def test_memory_does_not_hold_the_json(tmp_path: Path) -> None:
    peaks, counts = [], (200, 400)
    for count in counts:
        uris = write_split(tmp_path / str(count), count)
        tracemalloc.start()
        lint = lint_split(uris, other_prints(uris.images, uris.panoptic_json))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert lint.classes[0]["segments"] == count and lint.num_quarantined == count, "each has leaked"
    assert peaks[1] - peaks[0] < 0.5 * len(CAPTION) * (counts[1] - counts[0]), peaks
