"""An instances JSON checked against its panoptic JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from pycocotools import mask as coco_mask

from aunet.categories import Category, read_flag
from aunet.data.coco_entries import (
    LISTS,
    entry_id,
    malformed,
    of_other_kind,
    whole_number,
    without_lists,
)
from aunet.data.coco_json import ImageRecord, PanopticAnnotations
from aunet.data.defects import Defect
from aunet.data.pictures import MAX_PIXELS
from aunet.errors import InputError
from aunet.segments import NOT_GIVEN

SLACK = 1.0
"""Pixels by which boxes and polygons may pass the edge of the image, which rounding explains."""
_KEYS = ("category_id", "bbox", "segmentation")


class EntriesByImage:
    """The entries of an instances JSON by the id of their image.

    Args:
        keep: makes the mappings that grow with the number of entries; they keep the order of their keys.
    """

    def __init__(self, keep: Callable[[], MutableMapping[Any, Any]] = dict) -> None:
        self._numbers, self._entries = keep(), keep()

    def add(self, image_id: Any, entry: Any) -> None:
        """Another entry of an image."""
        number = self._numbers.get(image_id, 0)
        self._numbers[image_id] = number + 1
        self._entries[f"{number} {image_id!r}"] = entry

    def __contains__(self, image_id: Any) -> bool:
        return image_id in self._numbers

    def __iter__(self) -> Iterator[Any]:
        return iter(self._numbers)

    def __getitem__(self, image_id: Any) -> list[Any]:
        """The entries of an image, in the order of the file; none for an image that has none."""
        return [self._entries[f"{number} {image_id!r}"] for number in range(self._numbers.get(image_id, 0))]


def check_instances_json(
    lists: Iterable[tuple[str, Iterator[Any]]],
    source_name: str,
    panoptic: PanopticAnnotations,
    keep: Callable[[], MutableMapping[Any, Any]] = dict,
) -> list[Defect]:
    """Every defect of an instances JSON; `segment` of a defect is the instance's id.

    Args:
        lists: as of `instances_by_image`; so is `keep`.
        source_name: for messages.
    """
    defects: list[Defect] = []
    by_image = instances_by_image(lists, source_name, panoptic.records, defects, keep)
    for image_id in by_image:
        entries, record = by_image[image_id], panoptic.records[image_id]
        defects += check_instances(entries, source_name, record, panoptic.categories_by_id)
    return defects


def instances_by_image(
    lists: Iterable[tuple[str, Iterator[Any]]],
    source_name: str,
    records: Mapping[Any, ImageRecord],
    defects: list[Defect],
    keep: Callable[[], MutableMapping[Any, Any]] = dict,
) -> EntriesByImage:
    """The entries of each image; what belongs to none, or comes twice, goes to `defects`.

    Args:
        lists: of the file's lists, key and elements; each is read to its end before the next one begins.
        source_name: the file's name, for messages.
        records: image id → image of the panoptic JSON.
        keep: makes the mappings that grow with the number of entries.
    """
    by_image, ids, first = EntriesByImage(keep), keep(), {}
    unknown: Counter[Any] = Counter()
    new: list[Defect] = []
    missing = list(LISTS["instances"])
    try:
        for key, entries in lists:
            missing.remove(key)
            for number, entry in enumerate(entries):
                first = first or (entry if isinstance(entry, Mapping) else {})
                _add_instance(by_image, number, entry, source_name, records, ids, unknown, new)
        message = without_lists(missing, LISTS["instances"], source_name)
        message = message or of_other_kind(first, source_name, "instances")
    except InputError as error:
        message = str(error)
    if message:
        defects.append(Defect(rule="json-invalid", message=message))
        return EntriesByImage(keep)
    defects += new
    for image_id, count in unknown.items():
        message = f"{source_name}: {count} instances are of image {image_id!r}, which is unknown"
        defects.append(Defect(rule="instance-image", image=image_id, message=message))
    for record in records.values():
        count = sum(segment.is_thing and not segment.is_crowd for segment in record.segments)
        if count and record.image_id not in by_image:
            message = (
                f"{source_name}: image {record.image_id!r} ({record.file_name}) has {count} things and no instance"
            )
            defects.append(Defect(rule="instance-none", image=record.image_id, message=message))
    return by_image


def _add_instance(
    by_image: EntriesByImage,
    number: int,
    entry: Any,
    source_name: str,
    records: Mapping[Any, ImageRecord],
    ids: MutableMapping[Any, None],
    unknown: Counter[Any],
    defects: list[Defect],
) -> None:
    """Enter annotation `number` into `by_image`, or count its image among the unknown ones."""
    image_id, instance_id = entry_id(entry, "image_id"), entry_id(entry, "id")
    if image_id is None:
        message = f"{source_name}: annotations[{number}]: {malformed(['image_id'], entry)}"
        defects.append(Defect(rule="entry-malformed", segment=_number(instance_id), message=message))
        return
    if image_id not in records:
        unknown[image_id] += 1
        return
    if instance_id is not None:
        if instance_id in ids:
            message = f"{source_name}: annotations[{number}]: id {instance_id!r} is given before"
            defects.append(
                Defect(rule="instance-repeated", image=image_id, segment=_number(instance_id), message=message)
            )
        ids[instance_id] = None
    by_image.add(image_id, entry)


def check_instances(
    entries: Iterable[Any], source_name: str, record: ImageRecord, categories: Mapping[int, Category]
) -> list[Defect]:
    """Every defect of the instances of one image."""
    entries = list(entries)
    defects = [
        Defect(
            rule=rule,
            image=record.image_id,
            segment=_number(entry_id(entry, "id")),
            message=f"{source_name}: annotation {entry_id(entry, 'id')!r} of image {record.image_id!r}: {message}",
        )
        for entry in entries
        for rule, message in _broken_rules(entry, record, categories)
    ]
    if num_strays := sum(_is_stray(entry, record) for entry in entries):
        message = f"{source_name}: image {record.image_id!r}: {num_strays} of {len(entries)} instances are where no "
        message += "segment of their category is"
        defects.append(Defect(rule="instance-elsewhere", image=record.image_id, message=message))
    return defects


def _is_stray(entry: Any, record: ImageRecord) -> bool:
    """Whether an instance's box meets no box of a segment of its category, where all of these are known."""
    numbers, category_id = finite_numbers(entry.get("bbox")), whole_number(entry.get("category_id"))
    if numbers is None or len(numbers) != 4 or not record.segments:
        return False
    boxes = [segment.bbox for segment in record.segments if segment.category_id == category_id]
    x, y, width, height = numbers
    return all(
        own[0] != NOT_GIVEN
        and (x >= own[0] + own[2] or own[0] >= x + width or y >= own[1] + own[3] or own[1] >= y + height)
        for own in boxes
    )


def _number(instance_id: Any) -> int | None:
    return instance_id if isinstance(instance_id, int) else None


def _broken_rules(entry: Any, record: ImageRecord, categories: Mapping[int, Category]) -> Iterator[tuple[str, str]]:
    """Rule ids and messages of one entry."""
    if missing := [key for key in _KEYS if entry.get(key) is None]:
        yield "entry-malformed", malformed(missing, entry)
        return
    category_id = whole_number(entry["category_id"])
    category = None if category_id is None else categories.get(category_id)
    if category is None or not category.is_thing:
        name = f" ({category.name}, stuff)" if category else ""
        yield "instance-category", f"category_id {entry['category_id']!r:.40}{name} is not a thing"
    if read_flag(entry.get("iscrowd", 0)) is None:
        yield "crowd-value", f"iscrowd is {entry['iscrowd']!r:.40}"
    if not 0 < record.width * record.height <= MAX_PIXELS:
        return
    if wrong := _box_problem(entry["bbox"], record):
        yield "instance-box", f"bbox {entry['bbox']!r:.80} {wrong}"
    try:
        if mask_area(entry["segmentation"], record.height, record.width) == 0:
            yield "instance-empty", "its mask covers no pixel"
    except ValueError as error:
        yield "instance-mask", str(error)


def finite_numbers(values: Any) -> list[float] | None:
    """A list of finite numbers, or None."""
    if not isinstance(values, list) or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        return None
    try:
        floats = [float(v) for v in values]
    except OverflowError:
        return None
    return floats if all(map(math.isfinite, floats)) else None


def _box_problem(bbox: Any, record: ImageRecord) -> str:
    numbers = finite_numbers(bbox)
    if numbers is None or len(numbers) != 4:
        return "is not four numbers"
    x, y, width, height = numbers
    if width <= 0 or height <= 0:
        return "has no extent"
    if x < -SLACK or y < -SLACK or x + width > record.width + SLACK or y + height > record.height + SLACK:
        return f"leaves the image of {record.width}×{record.height}"
    return ""


def mask_area(segmentation: Any, height: int, width: int) -> int:
    """Pixels of polygons or of a run-length mask.

    Raises:
        ValueError: they cannot be drawn on an image of this size. Nothing of that kind reaches pycocotools, whose C
            code trusts its input.
    """
    if isinstance(segmentation, list):
        return _polygon_area(segmentation, height, width)
    if not isinstance(segmentation, Mapping):
        raise ValueError(f"segmentation {segmentation!r:.60} is neither polygons nor run lengths")
    if segmentation.get("size") != [height, width]:
        raise ValueError(f"run lengths for size {segmentation.get('size')!r:.40} on an image of {[height, width]}")
    counts = segmentation.get("counts")
    runs = _unpacked_runs(counts) if isinstance(counts, str) else finite_numbers(counts)
    if runs is None or any(run < 0 or run != int(run) for run in runs):
        raise ValueError("run lengths that are not whole numbers of 0 or more")
    if sum(runs) != height * width:
        raise ValueError(f"run lengths of {sum(runs):g} pixels on an image of {height * width}")
    return int(sum(runs[1::2]))


def _polygon_area(polygons: list[Any], height: int, width: int) -> int:
    for polygon in polygons:
        numbers = finite_numbers(polygon)
        if numbers is None or len(numbers) < 6 or len(numbers) % 2:
            raise ValueError(f"polygon {polygon!r:.60} is not three or more pairs of numbers")
        x, y = numbers[0::2], numbers[1::2]
        if min(numbers) < -SLACK or max(x) > width + SLACK or max(y) > height + SLACK:
            raise ValueError(f"polygon {polygon!r:.60} leaves the image of {width}×{height}")
    if not polygons:
        return 0
    return int(coco_mask.area(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))))


def _unpacked_runs(text: str) -> list[float] | None:
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
