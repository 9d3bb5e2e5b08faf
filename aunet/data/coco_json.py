"""The JSON files of the COCO panoptic format, read into typed records; every problem is named.

Boxes in this module are COCO's `(x, y, width, height)` in pixels, as the files have them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aunet.categories import Categories
from aunet.errors import InputError

if TYPE_CHECKING:
    from aunet.structures import Segment


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentRecord:
    """One entry of `segments_info`."""

    id: int
    category_id: int
    is_crowd: bool = False
    area: int = 0
    """Pixels."""
    bbox: tuple[int, int, int, int] = (0, 0, 0, 0)
    """(x, y, width, height)."""

    def to_segment(self, categories: Categories) -> Segment:
        """The same segment as `fusion` and `evaluation` take it."""
        from aunet.structures import Segment

        is_thing = categories.by_id[self.category_id].is_thing
        return Segment(self.id, self.category_id, is_thing, self.area, is_crowd=self.is_crowd)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRecord:
    """One image and its panoptic annotation."""

    image_id: int
    file_name: str
    """Name of the image below the split's image folder."""
    height: int
    width: int
    panoptic_name: str
    """Name of the PNG below the split's panoptic folder."""
    segments: tuple[SegmentRecord, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceRecord:
    """One entry of an instances JSON: a thing with its whole mask, which may lie under others."""

    category_id: int
    is_crowd: bool
    bbox: tuple[float, float, float, float]
    """(x, y, width, height)."""
    rle: str
    """COCO's compressed run-length encoding, `counts` of pycocotools, at the size of the image."""


@dataclass(frozen=True, kw_only=True)
class PanopticAnnotations:
    """What a panoptic JSON says."""

    categories: Categories
    images: tuple[ImageRecord, ...]
    """In the order of the file's `images`."""


def read_panoptic_json(data: bytes, place: str) -> PanopticAnnotations:
    """Read a panoptic JSON. `place` is the file's name, for messages.

    Raises:
        InputError: every problem of the file: not JSON, a missing key, an id given twice, an unknown
            category, an annotation without image or the reverse.
    """
    whole = _parse(data, place, ("images", "annotations", "categories"))
    check_image_ids((e.get("id") for e in whole["images"] if isinstance(e, dict)), place)
    categories = Categories.from_json(whole["categories"], place)
    problems: list[str] = []
    annotations: dict[int, dict[str, Any]] = {}
    for number, entry in enumerate(whole["annotations"]):
        if not _has(entry, ("image_id", "file_name", "segments_info"), f"{place}: annotation {number}", problems):
            continue
        if entry["image_id"] in annotations:
            problems.append(f"{place}: image {entry['image_id']} has two annotations; keep one")
        annotations[int(entry["image_id"])] = entry

    images: dict[int, ImageRecord] = {}
    for number, entry in enumerate(whole["images"]):
        if not _has(entry, ("id", "file_name", "height", "width"), f"{place}: image {number}", problems):
            continue
        image_id = int(entry["id"])
        annotation = annotations.pop(image_id, None)
        if image_id in images:
            problems.append(f"{place}: image id {image_id} is given twice; every image needs an id of its own")
        elif annotation is None:
            name = entry["file_name"]
            problems.append(f"{place}: image {image_id} ({name}) has no annotation; add it or drop the image")
        else:
            images[image_id] = ImageRecord(
                image_id=image_id,
                file_name=str(entry["file_name"]),
                height=int(entry["height"]),
                width=int(entry["width"]),
                panoptic_name=str(annotation["file_name"]),
                segments=_segments(annotation, categories, f"{place}: image {image_id}", problems),
            )
    problems += [f"{place}: image_id {i} of an annotation is not in images; add the image" for i in annotations]
    problems += [
        f"{place}: file_name {name!r} belongs to {count} images; every image needs a file of its own"
        for name, count in Counter(r.file_name for r in images.values()).items()
        if count > 1
    ]
    if problems:
        raise InputError(problems)
    return PanopticAnnotations(categories=categories, images=tuple(images.values()))


def read_instances(entries: Iterable[Mapping[str, Any]], image: ImageRecord) -> tuple[InstanceRecord, ...]:
    """The entries of an instances JSON that belong to one image, as records.

    Args:
        entries: without defects (`lint-data` finds them); masks as polygons or run lengths.
        image: its size is needed to turn polygons into run lengths.
    """
    return tuple(
        InstanceRecord(
            category_id=int(entry["category_id"]),
            is_crowd=bool(entry.get("iscrowd", 0)),
            bbox=tuple(float(v) for v in entry["bbox"]),  # type: ignore[arg-type]
            rle=_compressed_rle(entry["segmentation"], image.height, image.width),
        )
        for entry in entries
    )


def read_image_info(data: bytes, place: str) -> dict[str, int]:
    """The images that a JSON in COCO format lists, annotated or not: file name → image id, in the order of the file.

    Raises:
        InputError: every problem of the list: a missing key, a name or an id given twice.
    """
    whole = _parse(data, place, ("images",))
    check_image_ids((e.get("id") for e in whole["images"] if isinstance(e, dict)), place)
    problems: list[str] = []
    needed = ("id", "file_name")
    images = [e for n, e in enumerate(whole["images"]) if _has(e, needed, f"{place}: image {n}", problems)]
    for key in needed:
        counts = Counter(str(e[key]) for e in images)
        problems += [f"{place}: {key} {v} is given {c} times; keep one" for v, c in counts.items() if c > 1]
    if problems:
        raise InputError(problems)
    return {str(e["file_name"]): int(e["id"]) for e in images}


def check_image_ids(ids: Iterable[Any], place: str) -> None:
    """Refuse names where image ids must be numbers, as in the JSON of Cityscapes' official conversion.

    Raises:
        InputError: the first name, and what to do.
    """
    if strange := next((name for name in ids if isinstance(name, str) and not name.isdigit()), None):
        raise InputError(
            f"{place}: image id {strange!r} is no number; number the images, or, for Cityscapes, name the folder of "
            "the *_instanceIds.png as instance_ids in place of this file"
        )


def _parse(data: bytes, place: str, keys: tuple[str, ...]) -> dict[str, Any]:
    try:
        whole = json.loads(data)
    except ValueError as error:
        raise InputError(f"{place}: not JSON ({error}); fetch or write the file again") from None
    missing = [k for k in keys if not isinstance(whole, dict) or not isinstance(whole.get(k), list)]
    if missing == ["annotations"] and "images" in whole:
        raise InputError(
            f"{place}: lists images without annotations; they can be labelled with `predict`, not trained on or "
            "evaluated against: name a file with annotations"
        )
    if missing:
        raise InputError(f"{place}: the list {missing[0]!r} is missing; this must be a file in COCO format")
    return whole


def _has(entry: Any, keys: tuple[str, ...], where: str, problems: list[str]) -> bool:
    missing = [k for k in keys if not isinstance(entry, dict) or k not in entry]
    if missing:
        problems.append(f"{where} lacks {', '.join(missing)}; add it")
    return not missing


def _segments(
    annotation: dict[str, Any], categories: Categories, where: str, problems: list[str]
) -> tuple[SegmentRecord, ...]:
    segments: dict[int, SegmentRecord] = {}
    for number, entry in enumerate(annotation["segments_info"]):
        if not _has(entry, ("id", "category_id"), f"{where}: segment {number}", problems):
            continue
        segment_id, category_id = int(entry["id"]), int(entry["category_id"])
        if segment_id in segments:
            problems.append(f"{where}: segment id {segment_id} is given twice; every segment needs its own")
        if not 0 < segment_id < 256**3:
            problems.append(f"{where}: segment id {segment_id}: take 1 … {256**3 - 1}; 0 is void")
        if category_id not in categories.by_id:
            problems.append(
                f"{where}: segment {segment_id} has category_id {category_id}, which is not in categories; "
                "correct it or add the category"
            )
        x, y, width, height = entry.get("bbox") or (0, 0, 0, 0)
        segments[segment_id] = SegmentRecord(
            id=segment_id,
            category_id=category_id,
            is_crowd=bool(entry.get("iscrowd", 0)),
            area=int(entry.get("area") or 0),
            bbox=(int(x), int(y), int(width), int(height)),
        )
    return tuple(segments.values())


def _compressed_rle(segmentation: Any, height: int, width: int) -> str:
    """Polygons, uncompressed or compressed RLE → `counts` of the compressed RLE."""
    from pycocotools import mask

    if isinstance(segmentation, list):
        rle = mask.merge(mask.frPyObjects(segmentation, height, width))
    else:
        counts = segmentation["counts"]
        rle = mask.frPyObjects(segmentation, height, width) if isinstance(counts, list) else segmentation
    counts = rle["counts"]
    return counts.decode("ascii") if isinstance(counts, bytes) else str(counts)
