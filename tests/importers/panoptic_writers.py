"""The original in the layouts of data sets that have instances: Cityscapes, Mapillary Vistas, ADE20K."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aunet.data.coco_panoptic import encode_panoptic
from tests.importers.scenes import Original, Sample
from tests.importers.writers import png, put, write_images


def as_png(sample: Sample) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(sample.image)).save(buffer, "PNG")
    return buffer.getvalue()


def write_cityscapes(original: Original, folder: Path, *, city_in_name: bool = False) -> None:
    """What `createPanopticImgs.py` writes, beside leftImg8bit with a folder for each city."""
    images, annotations = [], []
    for number, sample in enumerate(original.samples):
        city = ("aachen", "ulm")[number % 2]
        put(folder / "leftImg8bit/train" / city / f"{sample.name}_leftImg8bit.png", as_png(sample))
        name = f"{sample.name}_gtFine_panoptic.png"
        put(folder / "gtFine/cityscapes_panoptic_train" / name, encode_panoptic(sample.ids))
        height, width = sample.ids.shape
        images.append(
            {"id": sample.name, "file_name": f"{sample.name}_gtFine_leftImg8bit.png", "width": width, "height": height}
        )
        annotations.append({"image_id": sample.name, "file_name": name, "segments_info": sample.segments})
    document = {"images": images, "annotations": annotations, "categories": original.categories.to_json()}
    put(folder / "gtFine/cityscapes_panoptic_train.json", json.dumps(document))


def write_vistas(original: Original, folder: Path, *, panoptic: bool) -> None:
    """Version 2.0: config, images, and panoptic JSON or 16-bit instances."""
    write_images(original, folder / "training/images")
    labels: list[dict[str, Any]] = []
    for category in original.categories.entries:
        labels.append({"name": category.name, "readable": category.name.title(), "color": category.color})
        labels[-1] |= {"instances": category.is_thing, "evaluate": True}
    labels.append({"name": "void--unlabeled", "instances": False, "evaluate": False, "color": [0, 0, 0]})
    put(folder / "config_v2.0.json", json.dumps({"version": "2.0", "labels": labels}))
    images, annotations = [], []
    for sample in original.samples:
        values = np.full(sample.ids.shape, 256 * (len(labels) - 1), dtype=np.uint16)
        for number, segment in enumerate(sample.segments):
            index = original.categories.index_of[segment["category_id"]]
            is_thing = original.categories.by_id[segment["category_id"]].is_thing
            values[sample.mask(segment)] = 256 * index + (number if is_thing else 0)
        if not panoptic:
            put(folder / "training/v2.0/instances" / f"{sample.name}.png", png(values))
            continue
        put(folder / "training/v2.0/panoptic" / f"{sample.name}.png", encode_panoptic(sample.ids))
        images.append({"id": sample.name, "file_name": f"{sample.name}.jpg"})
        annotations.append(
            {"image_id": sample.name, "file_name": f"{sample.name}.png", "segments_info": sample.segments}
        )
    if panoptic:
        document = {"images": images, "annotations": annotations, "categories": original.categories.to_json()}
        put(folder / "training/v2.0/panoptic/panoptic_2020.json", json.dumps(document))


def write_ade20k(original: Original, folder: Path) -> None:
    """Semantic and instance annotations, and the two tables; a space follows some of the numbers, as distributed."""
    write_images(original, folder / "images/training")
    entries = original.categories.entries
    rows = [f"{c.id}{' ' * (c.id % 2)}\t0.1\t5\t5\t{c.name}" for c in entries]
    put(folder / "objectInfo150.txt", "\n".join(["Idx\tRatio\tTrain\tVal\tName", *rows]))
    numbers = {c.id: n for n, c in enumerate(original.categories.things, start=1)}
    rows = [f"{n}\t{category_id}\tname" for category_id, n in numbers.items()]
    put(folder / "categoryMapping.txt", "\n".join(["Instance100\tScene150\tName", *rows]))
    for sample in original.samples:
        semantic, instance = np.zeros(sample.ids.shape, np.uint8), np.zeros((*sample.ids.shape, 3), np.uint8)
        for number, segment in enumerate(sample.segments, start=1):
            mask = sample.mask(segment)
            semantic[mask] = segment["category_id"]
            if segment["category_id"] in numbers and not segment["iscrowd"]:
                instance[mask] = numbers[segment["category_id"]], number, 0
        put(folder / "annotations/training" / f"{sample.name}.png", png(semantic))
        put(folder / "annotations_instance/training" / f"{sample.name}.png", png(instance))
