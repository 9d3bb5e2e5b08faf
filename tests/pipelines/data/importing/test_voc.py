"""Pascal VOC's layout, and CVAT's: which images a split has, and what nobody annotated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aunet.errors import InputError
from pipelines.data.importing.voc import VOC_ENTRIES, voc_color
from pipelines.import_data import ImportedData, import_data
from tests.importers.writers import png, put

LISTS = "ImageSets/Segmentation"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images with a person of 8 pixels, the outline around it and background."""
    classes, objects = (np.zeros((8, 10), dtype=np.uint8) for _ in range(2))
    classes[1:5, 1:7], objects[1:5, 1:7] = 255, 255
    classes[2:4, 2:6], objects[2:4, 2:6] = 15, 1
    for name in ("a", "b"):
        put(tmp_path / f"voc/JPEGImages/{name}.png", png(np.zeros((8, 10, 3), dtype=np.uint8)))
        put(tmp_path / f"voc/SegmentationClass/{name}.png", png(classes))
        put(tmp_path / f"voc/SegmentationObject/{name}.png", png(objects))
    return tmp_path / "voc"


def imported(root: Path, **options: Any) -> ImportedData:
    return import_data("voc", str(root.parent / "out"), data=str(root), workers=1, **options)


def test_what_nobody_annotated_is_no_region_that_could_be_hidden(root: Path) -> None:
    result = imported(root)
    assert (result.images, result.segments, result.changed) == (2, 2, {})


def test_a_split_without_its_list_is_refused_where_there_are_others(root: Path) -> None:
    put(root / LISTS / "train.txt", "a\n")
    put(root / LISTS / "trainval.txt", "a\nb\n")
    assert imported(root).splits == {"train": 1}
    message = (
        "--split val: .*ImageSets/Segmentation/ has train.txt, trainval.txt, but no val.txt; give --split with one"
    )
    with pytest.raises(InputError, match=message):
        imported(root, split="val")
    assert not (root.parent / "out/val").exists()
    assert imported(root, split="trainval").splits == {"trainval": 2}


def test_cvats_list_of_a_task_without_splits_names_all(root: Path) -> None:
    put(root / LISTS / "default.txt", "a\nb\n")
    assert imported(root).splits == {"train": 2}


def test_a_list_may_begin_with_a_byte_order_mark(root: Path) -> None:
    put(root / LISTS / "train.txt", "\ufeffa\nb\n")
    assert imported(root).splits == {"train": 2}


def test_masks_of_cvat_are_drawn_on_the_upright_image(root: Path) -> None:
    put(root / "labelmap.txt", "background:0,0,0::\nperson:15,15,15::\nvoid:255,255,255::")
    tags = Image.Exif()
    tags[0x0112] = 3
    pixels = np.zeros((8, 10, 3), dtype=np.uint8)
    pixels[0] = 255
    Image.fromarray(pixels).save(root / "JPEGImages/a.png", exif=tags)
    result = import_data("cvat", str(root.parent / "out"), data=str(root), things=["person"], workers=1)
    assert result.changed == {"images-turned": 1}
    assert np.array(Image.open(root.parent / "out/train/a.png"))[:, 0, 0].tolist() == [0] * 7 + [255]


def test_a_mask_belongs_to_the_image_of_its_name_also_where_that_is_of_another_split(root: Path) -> None:
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
        (root / folder / "b.png").rename(root / folder / "a_2.png")
    (root / "SegmentationClass/a.png").unlink()
    put(root / LISTS / "train.txt", "a\n")
    put(root / LISTS / "val.txt", "a_2\n")
    assert imported(root, keep_void=True).segments == 0
    assert imported(root, split="val").segments == 1


def test_the_palette_is_that_of_voc() -> None:
    names = {entry.name: entry.color for entry in VOC_ENTRIES}
    assert names["background"] == (0, 0, 0) and names["aeroplane"] == (128, 0, 0)
    assert names["person"] == (192, 128, 128) and names["tvmonitor"] == (0, 64, 128)
    assert voc_color(255) == (224, 224, 192)


def test_masks_in_rgb_without_a_labelmap(root: Path) -> None:
    expected = imported(root)
    for path in root.glob("Segmentation*/*.png"):
        colors = np.array([voc_color(value) for value in range(256)], dtype=np.uint8)
        path.write_bytes(png(colors[np.array(Image.open(path))]))
    result = import_data("voc", str(root.parent / "rgb"), data=str(root), workers=1)
    assert (result.segments, result.changed, result.categories) == (2, {}, expected.categories)
