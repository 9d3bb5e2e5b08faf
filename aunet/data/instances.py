"""The entries of an instances JSON as records, with one form of mask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pycocotools import mask as coco_mask

from aunet.categories import read_flag
from aunet.data.coco_entries import whole_number
from aunet.data.coco_json import ImageRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceRecord:
    """One entry of an instances JSON: a thing with its whole mask, which may be partly under others."""

    category_id: int
    is_crowd: bool
    bbox: tuple[float, float, float, float]
    """(x, y, width, height) in pixels."""
    rle: str
    """COCO's compressed run-length encoding, `counts` of pycocotools, at the size of the image."""


def read_instances(entries: Iterable[Mapping[str, Any]], image: ImageRecord) -> tuple[InstanceRecord, ...]:
    """The entries of an instances JSON that belong to one image, as records.

    Args:
        entries: without defects (`check_instances` finds them); masks as polygons or run lengths.
        image: its size is needed to turn polygons into run lengths.
    """
    records = []
    for entry in entries:
        x, y, width, height = (float(value) for value in entry["bbox"])
        records.append(
            InstanceRecord(
                category_id=whole_number(entry["category_id"]) or 0,
                is_crowd=read_flag(entry.get("iscrowd", 0)) is True,
                bbox=(x, y, width, height),
                rle=_compressed_rle(entry["segmentation"], image.height, image.width),
            )
        )
    return tuple(records)


def _compressed_rle(segmentation: Any, height: int, width: int) -> str:
    """Polygons, uncompressed or compressed RLE → `counts` of the compressed RLE."""
    if isinstance(segmentation, list):
        rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        rle = coco_mask.frPyObjects(segmentation, height, width)
    else:
        rle = segmentation
    counts = rle["counts"]
    return counts.decode("ascii") if isinstance(counts, bytes) else str(counts)
