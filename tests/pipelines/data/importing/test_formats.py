"""Every format on generated scenes: written, imported, and compared with the original pixel by pixel."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.import_data import ImportedData, import_data
from tests.importers.panoptic_writers import write_ade20k, write_cityscapes, write_vistas
from tests.importers.scenes import Original, assert_equal_pixels, generated, imported_quality
from tests.importers.writers import write_coco, write_cvat, write_labelme, write_masks, write_voc


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return generated(tmp_path_factory.mktemp("original"))


def imported(format: str, out: Path, **options: Any) -> ImportedData:
    plain: dict[str, Any] = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    return import_data(format, str(out), workers=1, **plain)


Write = Callable[[Original, Path], None]
Options = Callable[[Original, Path], dict[str, Any]]


def coco_options(**more: str) -> Options:
    return lambda original, folder: {
        "images": folder / "images",
        "annotations": folder / "instances.json",
        **{name: folder / value for name, value in more.items()},
    }


def mask_options(palette: str, things: bool = False) -> Options:
    return lambda original, folder: {
        "images": folder / "images",
        "annotations": folder / "semantic",
        "instances": folder / "instance",
        "palette": folder / palette,
        "things": [original.things] if things else None,
    }


def cvat_options(original: Original, folder: Path) -> dict[str, Any]:
    return {"images": folder / "images", "annotations": folder / "annotations.xml", "things": [original.things]}


def data_options(things: bool = False, **more: str) -> Options:
    return lambda original, folder: {"data": folder, **more, **({"things": [original.things]} if things else {})}


EXACT: dict[str, tuple[str, Write, Options]] = {
    "coco with stuff JSON": ("coco", write_coco, coco_options(stuff_json="stuff.json")),
    "coco with pixel maps": ("coco", write_coco, coco_options(stuff_json="stuff.json", pixel_maps="pixelmaps")),
    "coco with stuffthingmaps": (
        "coco",
        write_coco,
        coco_options(stuff_json="stuff.json", stuff_thing_maps="stuffthingmaps"),
    ),
    "masks by value": ("masks", write_masks, mask_options("palette.json")),
    "masks by colour": ("masks", lambda o, f: write_masks(o, f, colors=True), mask_options("palette.json")),
    "masks by colour, text": (
        "masks",
        lambda o, f: write_masks(o, f, colors=True),
        mask_options("palette.txt", things=True),
    ),
    "labelme masks": ("labelme", lambda o, f: write_labelme(o, f, masks=True), data_options(things=True)),
    "cvat masks": ("cvat", lambda o, f: write_cvat(o, f, masks=True), cvat_options),
    "mapillary panoptic": ("mapillary", lambda o, f: write_vistas(o, f, panoptic=True), data_options()),
    "ade20k": ("ade20k", write_ade20k, data_options()),
    "cityscapes": (
        "cityscapes",
        write_cityscapes,
        lambda o, f: {
            "images": f / "leftImg8bit/train",
            "annotations": f / "gtFine/cityscapes_panoptic_train.json",
        },
    ),
}
"""Formats that carry everything: crowds too."""
WITHOUT_CROWDS: dict[str, tuple[str, Write, Options]] = {
    "cvat mask export": ("cvat", write_voc, data_options(things=True)),
    "voc in RGB": ("voc", lambda o, f: write_voc(o, f, palette=False), data_options(things=True)),
    "mapillary instances": ("mapillary", lambda o, f: write_vistas(o, f, panoptic=False), data_options()),
}
"""Formats that carry every pixel, but no crowds: they come back as single things."""
OUTLINES: dict[str, tuple[str, Write, Options]] = {
    "labelme polygons": ("labelme", write_labelme, data_options(things=True)),
    "cvat polygons": ("cvat", write_cvat, cvat_options),
    "coco polygons": ("coco", lambda o, f: write_coco(o, f, polygons=True), coco_options(stuff_json="stuff.json")),
}
"""Formats without holes: what shows through a ring is painted over."""


@pytest.mark.parametrize("name", EXACT)
def test_what_carries_everything_gives_equal_pixels(name: str, original: Original, tmp_path: Path) -> None:
    format, write, options = EXACT[name]
    write(original, tmp_path / "source")
    result = imported(format, tmp_path / "out", **options(original, tmp_path / "source"))
    assert result.images == len(original.samples) and result.exit_code == 0
    assert result.segments == sum(len(sample.segments) for sample in original.samples)
    assert_equal_pixels(original, tmp_path / "out")
    metrics = imported_quality(original, tmp_path / "out")
    assert metrics["PQ"] == metrics["PQ_th"] == metrics["PQ_st"] == 100


@pytest.mark.parametrize("name", WITHOUT_CROWDS)
def test_what_has_no_crowds_keeps_the_quality(name: str, original: Original, tmp_path: Path) -> None:
    format, write, options = WITHOUT_CROWDS[name]
    write(original, tmp_path / "source")
    result = imported(format, tmp_path / "out", **options(original, tmp_path / "source"))
    assert result.images == len(original.samples)
    assert imported_quality(original, tmp_path / "out")["PQ"] == 100
    document = json.loads((tmp_path / "out/annotations/panoptic_train.json").read_text())
    assert not any(s["iscrowd"] for entry in document["annotations"] for s in entry["segments_info"])


@pytest.mark.parametrize("name", OUTLINES)
def test_what_has_no_holes_loses_what_shows_through_them(
    name: str, original: Original, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    format, write, options = OUTLINES[name]
    write(original, tmp_path / "source")
    result = imported(format, tmp_path / "out", **options(original, tmp_path / "source"))
    metrics = imported_quality(original, tmp_path / "out")
    with capsys.disabled():
        print(f"\n{name}: PQ {metrics['PQ']:.2f} RQ {metrics['RQ']:.2f}, {result.changed}")
    assert result.images == len(original.samples)
    assert 95 < metrics["PQ"] < 100
