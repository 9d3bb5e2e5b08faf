"""An instances JSON held against its panoptic JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aunet.categories import Category
from aunet.data.coco_json import ImageRecord
from pipelines.lint.json import LenientAnnotations, entry_id, parse, whole_number
from pipelines.lint.rules import Defect

SLACK = 1.0
"""Pixels by which boxes and polygons may pass the edge of the image, which rounding explains."""
MAX_PIXELS = 2**28
"""Masks are not drawn on larger images."""
_KEYS = ("category_id", "bbox", "segmentation")


def lint_instances(data: bytes, place: str, panoptic: LenientAnnotations) -> list[Defect]:
    """Every defect of an instances JSON. `place` is its name, for messages; ids of instances stand in `segment`."""
    defects: list[Defect] = []
    whole = parse(data, place, ("annotations",), defects)
    found = sort_instances(whole["annotations"] if whole else [], place, panoptic.records, defects)
    for image_id, entries in found.items():
        defects += check_instances(entries, place, panoptic.records[image_id], panoptic.categories)
    return defects


def sort_instances(
    entries: list[Any], place: str, records: Mapping[Any, ImageRecord], defects: list[Defect]
) -> dict[Any, list[Any]]:
    """Image id → the entries of that image; what belongs to none, or is there twice, goes to `defects`."""
    found: dict[Any, list[Any]] = {}
    ids: set[Any] = set()
    unknown: Counter[Any] = Counter()
    for number, entry in enumerate(entries):
        image_id, instance = entry_id(entry, "image_id"), entry_id(entry, "id")
        if image_id is None:
            said = f"{place}: annotations[{number}]: image_id missing or wrong in {entry!r:.80}"
            defects.append(Defect(rule="entry-malformed", segment=_number(instance), message=said))
            continue
        if image_id not in records:
            unknown[image_id] += 1
            continue
        if instance is not None and instance in ids:
            said = f"{place}: annotations[{number}]: id {instance!r} is given before"
            defects.append(Defect(rule="instance-repeated", image=image_id, segment=_number(instance), message=said))
        ids.add(instance)
        found.setdefault(image_id, []).append(entry)
    defects += [
        Defect(rule="instance-image", image=i, message=f"{place}: {n} instances are of image {i!r}, which is unknown")
        for i, n in unknown.items()
    ]
    return found


def check_instances(
    entries: Iterable[Any], place: str, record: ImageRecord, categories: Mapping[int, Category]
) -> list[Defect]:
    """Every defect of the instances of one image."""
    return [
        Defect(
            rule=rule,
            image=record.image_id,
            segment=_number(entry_id(entry, "id")),
            message=f"{place}: annotation {entry_id(entry, 'id')!r} of image {record.image_id!r}: {said}",
        )
        for entry in entries
        for rule, said in _broken(entry, record, categories)
    ]


def _number(instance: Any) -> int | None:
    return instance if isinstance(instance, int) else None


def _broken(entry: Any, record: ImageRecord, categories: Mapping[int, Category]) -> Iterator[tuple[str, str]]:
    """Rule ids and what was seen, of one entry."""
    if missing := [k for k in _KEYS if entry.get(k) is None]:
        yield "entry-malformed", f"{', '.join(missing)} missing or wrong in {entry!r:.80}"
        return
    category = categories.get(whole_number(entry["category_id"]) or 0)
    if category is None or not category.is_thing:
        name = f" ({category.name}, stuff)" if category else ""
        yield "instance-category", f"category_id {entry['category_id']!r:.40}{name} is no thing"
    if entry.get("iscrowd", 0) not in (0, 1):
        yield "crowd-value", f"iscrowd is {entry['iscrowd']!r:.40}"
    if not 0 < record.width * record.height <= MAX_PIXELS:
        return
    if wrong := _box_problem(entry["bbox"], record):
        yield "instance-box", f"bbox {entry['bbox']!r:.80} {wrong}"
    try:
        if _mask_area(entry["segmentation"], record.height, record.width) == 0:
            yield "instance-empty", "its mask covers no pixel"
    except ValueError as error:
        yield "instance-mask", str(error)


def _numbers(values: Any) -> list[float] | None:
    """A list of finite numbers, or None."""
    if not isinstance(values, list) or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        return None
    try:
        floats = [float(v) for v in values]
    except OverflowError:
        return None
    return floats if all(map(math.isfinite, floats)) else None


def _box_problem(bbox: Any, record: ImageRecord) -> str:
    numbers = _numbers(bbox)
    if numbers is None or len(numbers) != 4:
        return "is not four numbers"
    x, y, width, height = numbers
    if width <= 0 or height <= 0:
        return "has no extent"
    if x < -SLACK or y < -SLACK or x + width > record.width + SLACK or y + height > record.height + SLACK:
        return f"leaves the image of {record.width}×{record.height}"
    return ""


def _mask_area(segmentation: Any, height: int, width: int) -> int:
    """Pixels of polygons or of a run-length mask.

    Raises:
        ValueError: they cannot be drawn on an image of this size. Nothing of that kind is handed to pycocotools,
            whose C code trusts what it is given.
    """
    if isinstance(segmentation, list):
        return _polygon_area(segmentation, height, width)
    if not isinstance(segmentation, Mapping):
        raise ValueError(f"segmentation {segmentation!r:.60} is neither polygons nor run lengths")
    if segmentation.get("size") != [height, width]:
        raise ValueError(f"run lengths for size {segmentation.get('size')!r:.40} on an image of {[height, width]}")
    counts = segmentation.get("counts")
    runs = _unpacked(counts) if isinstance(counts, str) else _numbers(counts)
    if runs is None or any(run < 0 for run in runs):
        raise ValueError("run lengths that are no whole numbers of 0 or more")
    if sum(runs) != height * width:
        raise ValueError(f"run lengths of {sum(runs):g} pixels on an image of {height * width}")
    return int(sum(runs[1::2]))


def _polygon_area(polygons: list[Any], height: int, width: int) -> int:
    from pycocotools import mask

    for polygon in polygons:
        numbers = _numbers(polygon)
        if numbers is None or len(numbers) < 6 or len(numbers) % 2:
            raise ValueError(f"polygon {polygon!r:.60} is not three or more pairs of numbers")
        x, y = numbers[0::2], numbers[1::2]
        if min(numbers) < -SLACK or max(x) > width + SLACK or max(y) > height + SLACK:
            raise ValueError(f"polygon {polygon!r:.60} leaves the image of {width}×{height}")
    if not polygons:
        return 0
    return int(mask.area(mask.merge(mask.frPyObjects(polygons, height, width))))  # type: ignore[arg-type]


def _unpacked(text: str) -> list[float] | None:
    """The run lengths that COCO's text stands for: five bits per character, each run less the last but one."""
    runs: list[float] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 30:
            return None
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (1 << shift) if code & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs if not shift else None
