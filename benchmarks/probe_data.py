"""The images of attention_probe.py: generated scenes of both kinds, or CamVid."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from aunet.categories import Categories
from aunet.data import shapes
from aunet.data.coco_json import read_panoptic_json
from aunet.data.coco_panoptic import encode_panoptic
from aunet.data.sample import Sample, decode_sample
from pipelines.settings.recipes import sample_folder


def load(data: str) -> tuple[Categories, list[Sample], list[Sample]]:
    """Training and validation images."""
    if data != "camvid":
        kind = "landscape" if data == "scenes" else "ambiguous"
        return shapes.KINDS[kind][1], scenes("train", 320, kind), scenes("val", 128, kind)
    folder = Path(sample_folder("camvid_panoptic"))
    read = {split: read_folder(folder, split) for split in ("train", "val")}
    return read["val"][0], read["train"][1], read["val"][1]


def scenes(split: Any, count: int, kind: shapes.Kind) -> list[Sample]:
    draw, categories = shapes.KINDS[kind]
    samples = []
    for index in range(count):
        drawn, encoded = draw(0, split, index, 128, 160), io.BytesIO()
        Image.fromarray(drawn.image).save(encoded, "PNG")
        samples.append(sample(index, encoded.getvalue(), encode_panoptic(drawn.ids), drawn.segments, categories))
    return samples


def read_folder(folder: Path, split: str) -> tuple[Categories, list[Sample]]:
    document = folder / "annotations" / f"panoptic_{split}.json"
    annotations = read_panoptic_json(document.read_bytes(), document.name)
    names = {record.image_id: folder / split / record.file_name for record in annotations.images}
    pngs = folder / "annotations" / f"panoptic_{split}"
    return annotations.categories, [
        sample(
            r.image_id,
            names[r.image_id].read_bytes(),
            (pngs / r.panoptic_name).read_bytes(),
            r.segments,
            annotations.categories,
        )
        for r in annotations.images
    ]


def sample(image_id: int, image: bytes, panoptic: bytes, segments: Any, categories: Categories) -> Sample:
    entries = [{"id": s.id, "category_id": s.category_id, "area": s.area, "is_crowd": s.is_crowd} for s in segments]
    return decode_sample({"image_id": image_id, "image": image, "panoptic": panoptic, "segments": entries}, categories)
