"""Masks: palettes, pairs of files, things without instances, and VOC's own table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aunet.errors import InputError
from pipelines.data.importing.masks import paired
from pipelines.data.importing.palette import PaletteEntry, read_palette
from pipelines.data.importing.value_maps import connected_areas, read_values
from pipelines.import_data import ImportedData, import_data
from tests.importers.writers import png, put

MASK = np.zeros((8, 10), dtype=np.uint8)
MASK[4:], MASK[1:3, 1:3], MASK[1:3, 6:9], MASK[0, 0] = 2, 1, 1, 255


def write(folder: Path, mask: np.ndarray = MASK) -> None:
    put(folder / "images/x/a.jpg", b"")
    Image.fromarray(np.zeros((8, 10, 3), dtype=np.uint8)).save(folder / "images/x/a.jpg")
    put(folder / "masks/x/a.png", png(mask))
    put(folder / "palette.txt", "1 car\n2 road\n")


def imported(folder: Path, **options: Any) -> ImportedData:
    paths = {"images": "images", "annotations": "masks", "palette": "palette.txt"}
    given = {name: str(folder / value) for name, value in paths.items()} | options
    return import_data("masks", str(folder / "out"), workers=1, **{"things": ["car"], **given})


def test_things_without_instances_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(InputError, match=r"car are things.*--components"):
        imported(tmp_path)
    result = imported(tmp_path, components=True)
    assert result.segments == 3 and result.changed == {"things-from-components": 2}


def test_a_label_may_have_a_comma(tmp_path: Path) -> None:
    write(tmp_path)
    put(tmp_path / "palette.txt", "1 car, auto\n2 road\n")
    result = imported(tmp_path, things=["car, auto"], components=True)
    assert {c["name"]: c["isthing"] for c in result.categories} == {"car, auto": 1, "road": 0}


def test_masks_without_things(tmp_path: Path) -> None:
    write(tmp_path)
    assert imported(tmp_path, things=["none"]).segments == 2


def test_the_background_is_what_no_line_of_the_palette_names(tmp_path: Path) -> None:
    write(tmp_path)
    result = imported(tmp_path, components=True, background="floor")
    assert result.segments == 4 and result.changed == {"things-from-components": 2}
    assert f'"area": {40 - 4 - 6 - 1},' in (tmp_path / "out/annotations/panoptic_train.json").read_text()


@pytest.mark.parametrize("line", ["0 void", "0 unlabeled"])
def test_what_the_palette_calls_void_is_not_the_background(line: str, tmp_path: Path) -> None:
    write(tmp_path)
    put(tmp_path / "palette.txt", f"1 car\n2 road\n{line}\n")
    assert imported(tmp_path, components=True, background="floor").segments == 3


def test_values_without_category_are_void_and_counted(tmp_path: Path) -> None:
    write(tmp_path, np.where(MASK == 2, 9, MASK).astype(np.uint8))
    result = imported(tmp_path, components=True)
    assert result.changed == {"things-from-components": 2, "pixels-without-category": 40}


def test_an_image_without_its_instance_mask(tmp_path: Path) -> None:
    write(tmp_path)
    put(tmp_path / "instances/other.png", png(MASK))
    with pytest.raises(InputError, match=r"x/a\.jpg: missing in .*instances, but x/a\.png exists"):
        imported(tmp_path, instances=str(tmp_path / "instances"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xd8\xff", "a.png: "),
        (b"", "not a picture"),
        (png(np.zeros((2, 2), dtype=np.uint16)), "10×8, but its annotation is for 2×2"),
        (png(np.zeros((8, 10, 4), dtype=np.uint8))[:60], "a.png: "),
    ],
)
def test_masks_that_are_none(data: bytes, message: str, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "masks/x/a.png").write_bytes(data)
    with pytest.raises(InputError, match=message):
        imported(tmp_path, components=True, keep_void=True)


def test_a_jpeg_is_no_mask(tmp_path: Path) -> None:
    Image.fromarray(MASK).save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="a JPEG changes values"):
        read_values(str(tmp_path / "a.jpg"))


def test_sixteen_bits_keep_their_values(tmp_path: Path) -> None:
    put(tmp_path / "a.png", png(np.array([[0, 40_000], [65_535, 1]], dtype=np.uint16)))
    assert read_values(str(tmp_path / "a.png")).tolist() == [[0, 40_000], [65_535, 1]]


def test_names_that_belong_together() -> None:
    images = ["a/0001TP_006690.png", "a/0001TP.png", "b.jpg"]
    masks = ["a/0001TP_006690_L.png", "a/0001TP_x_y.png", "b.mask.png", "b.png", "c.png", "b.txt"]
    assert paired(images, masks) == {
        "a/0001TP_006690.png": "a/0001TP_006690_L.png",
        "a/0001TP.png": "a/0001TP_x_y.png",
        "b.jpg": "b.png",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# label:color_rgb\ncar:1,2,3::\n", PaletteEntry(name="car", color=(1, 2, 3))),
        ("1 2 3\tcar", PaletteEntry(name="car", color=(1, 2, 3))),
        ("name,r,g,b\nmy car,1,2,3", PaletteEntry(name="my car", color=(1, 2, 3))),
        ("13: car", PaletteEntry(name="car", value=13)),
        ("0 0 0 Void", PaletteEntry(name="Void", color=(0, 0, 0), is_void=True)),
        (
            '[{"name": "car", "id": 4, "color": "#010203", "isthing": 1}]',
            PaletteEntry(name="car", value=4, color=(1, 2, 3), is_thing=True),
        ),
    ],
)
def test_palettes_of_many_programs(text: str, expected: PaletteEntry, tmp_path: Path) -> None:
    put(tmp_path / "p", text)
    assert read_palette(str(tmp_path / "p")) == [expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty palette"),
        ("car", "line 1 .car.: not a name"),
        ("car,300,0,0", "line 1"),
        ("1 car\n2 car", "car is given twice"),
        ('{"a": 1}', "not a list"),
        ('[{"id": 1}]', "has no name"),
        ('[{"name": "car", "value": "x"}]', "value is not a whole number"),
        ("\x00\x01", "line 1"),
    ],
)
def test_palettes_that_are_none(text: str, message: str, tmp_path: Path) -> None:
    put(tmp_path / "p", text)
    with pytest.raises(InputError, match=message):
        read_palette(str(tmp_path / "p"))


def test_a_palette_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    put(tmp_path / "p", '\ufeff[{"name": "car", "value": 1}]')
    assert read_palette(str(tmp_path / "p")) == [PaletteEntry(name="car", value=1)]


def test_two_names_of_one_colour(tmp_path: Path) -> None:
    write(tmp_path)
    put(tmp_path / "palette.txt", "1 car\n1 road\n")
    with pytest.raises(InputError, match="road and car look the same"):
        imported(tmp_path)


def test_areas_that_touch_at_a_corner_are_one() -> None:
    snake = np.array([[0, 9, 9, 0], [9, 0, 9, 0], [9, 9, 0, 9], [0, 0, 9, 0]])
    areas = connected_areas(np.where(snake == 9, 1, -1))
    assert areas.max() == 1 and (areas > 0).sum() == 8
    spiral = np.ones((31, 31), dtype=np.int64)
    spiral[1::2, :] = -1
    spiral[1::4, -1], spiral[3::4, 0] = 1, 1
    assert connected_areas(spiral).max() == 1
    assert connected_areas(np.array([[0, 1], [1, 0]])).max() == 2


def test_vocs_own_table_and_its_outlines(tmp_path: Path) -> None:
    for name in ("2007_1", "2007_2"):
        put(tmp_path / f"voc/JPEGImages/{name}.jpg", b"")
        Image.fromarray(np.zeros((8, 10, 3), dtype=np.uint8)).save(tmp_path / f"voc/JPEGImages/{name}.jpg")
    classes = np.zeros((8, 10), dtype=np.uint8)
    objects = np.zeros((8, 10), dtype=np.uint8)
    classes[1:5, 1:5], objects[1:5, 1:5] = 255, 255
    classes[2:4, 2:4], objects[2:4, 2:4] = 15, 1
    classes[6:8], objects[6:8] = 15, 2
    put(tmp_path / "voc/SegmentationClass/2007_1.png", png(classes))
    put(tmp_path / "voc/SegmentationObject/2007_1.png", png(objects))
    put(tmp_path / "voc/ImageSets/Segmentation/train.txt", "2007_1\n")
    result = import_data("voc", str(tmp_path / "out"), data=str(tmp_path / "voc"), background="background", workers=1)
    assert (result.images, result.segments, len(result.categories)) == (1, 3, 21)
    document = (tmp_path / "out/annotations/panoptic_train.json").read_text()
    assert '"area": 4,' in document and '"area": 20,' in document and f'"area": {80 - 16 - 20},' in document
