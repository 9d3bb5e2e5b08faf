"""Every format as it is written and imported: its writer, and the options of `import-data`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.importers.panoptic_writers import write_ade20k, write_cityscapes, write_vistas
from tests.importers.scenes import Original
from tests.importers.writers import write_coco, write_cvat, write_labelme, write_masks, write_voc

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
    "cvat project": ("cvat", lambda o, f: write_cvat(o, f, masks=True, project=True), cvat_options),
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
ALL = {**EXACT, **WITHOUT_CROWDS, **OUTLINES}
