"""EXIF tags: what a format that does not say whether it obeys them makes of an image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.import_data import ImportedData, import_data
from tests.importers.writers import put

PIXELS = np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8)


def imported(folder: Path, turn: int, *, image: tuple[int, int] = (12, 8), annotated: tuple[int, int]) -> ImportedData:
    """An image of COCO with the tag, and one object."""
    tags = Image.Exif()
    tags[0x0112] = turn
    (folder / "images").mkdir()
    Image.fromarray(PIXELS[: image[1], : image[0]]).save(folder / "images/a.png", exif=tags)
    width, height = annotated
    annotation = {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 2]], "iscrowd": 0}
    images = [{"id": 7, "file_name": "a.png", "width": width, "height": height}]
    document = {"images": images, "annotations": [annotation], "categories": [{"id": 1, "name": "dog"}]}
    put(folder / "instances.json", json.dumps(document))
    source, json_path = str(folder / "images"), str(folder / "instances.json")
    return import_data("coco", str(folder / "out"), images=source, annotations=json_path, workers=1)


@pytest.mark.parametrize("turn", [0, 1])
def test_a_tag_that_turns_nothing_leaves_the_bytes(turn: int, tmp_path: Path) -> None:
    assert imported(tmp_path, turn, annotated=(12, 8)).changed == {}
    assert (tmp_path / "out/train/a.png").samefile(tmp_path / "images/a.png")


@pytest.mark.parametrize(
    ("turn", "image", "annotated", "rule"),
    [
        (3, (12, 8), (12, 8), "images-orientation-guessed"),
        (2, (12, 8), (12, 8), "images-orientation-guessed"),
        (6, (8, 8), (8, 8), "images-orientation-guessed"),
        (6, (12, 8), (12, 8), "images-untagged"),
        (6, (12, 8), (8, 12), "images-turned"),
    ],
)
def test_what_the_size_does_not_show_is_a_guess(
    turn: int, image: tuple[int, int], annotated: tuple[int, int], rule: str, tmp_path: Path
) -> None:
    assert imported(tmp_path, turn, image=image, annotated=annotated).changed == {rule: 1}
    stored = Image.open(tmp_path / "out/train/a.png")
    assert stored.size == annotated and stored.getexif().get(0x0112, 1) == 1
    if rule != "images-turned":
        assert np.array_equal(np.array(stored), PIXELS[: image[1], : image[0]])
