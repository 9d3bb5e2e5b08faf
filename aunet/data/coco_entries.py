"""The entries of COCO's JSON files: whatever can be used of them, and a defect for everything else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from aunet.categories import Category
from aunet.data.coco_panoptic import MAX_SEGMENT_ID
from aunet.data.defects import Defect
from aunet.segments import NOT_GIVEN, Box, Segment

_UNSAFE = re.compile(r"[\x00-\x1f\ud800-\udfff]|^/|(^|/)\.\.(/|$)")


def parse_json(data: bytes, source_name: str, lists: tuple[str, ...], defects: list[Defect]) -> dict[str, Any] | None:
    """The JSON object, which holds all of `lists`; None, and a defect, where it cannot be read or lacks one."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        message = f"{source_name}: not JSON ({error}; {len(data)} bytes starting with {data[:12]!r})"
        defects.append(Defect(rule="json-invalid", message=message))
        return None
    missing = [key for key in lists if not isinstance(document, dict) or not isinstance(document.get(key), list)]
    if missing:
        message = f"{source_name}: no list {', '.join(map(repr, missing))}"
        if missing == ["annotations"] and "images" in document:
            message += (
                ": images without annotations can be labelled with `predict`, not trained on or evaluated against"
            )
        defects.append(Defect(rule="json-invalid", message=message))
        return None
    return document


def read_categories(entries: list[Any], source_name: str, defects: list[Defect]) -> dict[int, Category]:
    """Category id → category, each id once."""
    categories: dict[int, Category] = {}
    names: set[str] = set()
    for number, entry in enumerate(entries):
        where = f"{source_name}: categories[{number}]: "
        category_id = entry_id(entry, "id")
        wrong = ["id"] if not isinstance(category_id, int) else []
        if wrong := wrong + wrong_keys(entry, {"name": str}):
            defects.append(Defect(rule="category-malformed", message=f"{where}{malformed(wrong, entry)}"))
        name = "" if "name" in wrong else entry["name"]
        is_thing = entry.get("isthing") if isinstance(entry, Mapping) else None
        if isinstance(entry, Mapping) and is_thing not in (0, 1):
            message = f"{where}isthing is {'missing' if is_thing is None else repr(is_thing)} {_abridged(entry)}"
            defects.append(Defect(rule="isthing-missing", message=message))
        if name in names:
            defects.append(Defect(rule="category-name-repeated", message=f"{where}{name!r} is a name given before"))
        if category_id in categories:
            defects.append(Defect(rule="category-repeated", message=f"{where}{category_id} is an id given before"))
        elif isinstance(category_id, int):
            categories[category_id] = Category(
                id=category_id,
                name=name or f"category {category_id}",
                is_thing=is_thing == 1,
                color=_color(entry.get("color")),
            )
        if name:
            names.add(name)
    return categories


def read_annotations(entries: list[Any], source_name: str, defects: list[Defect]) -> dict[Any, dict[str, Any]]:
    """Image id → annotation without the keys that cannot be used; of several of one image, the first."""
    annotations: dict[Any, dict[str, Any]] = {}
    for number, entry in enumerate(entries):
        image_id = entry_id(entry, "image_id")
        wrong = wrong_keys(entry, {"file_name": str, "segments_info": list})
        if wrong or image_id is None:
            keys = (["image_id"] if image_id is None else []) + wrong
            message = f"{source_name}: annotations[{number}]: {malformed(keys, entry)}"
            defects.append(Defect(rule="entry-malformed", image=image_id, message=message))
        if image_id is None:
            continue
        if image_id in annotations:
            message = f"{source_name}: annotations[{number}] is another one of image {image_id!r}"
            defects.append(Defect(rule="annotation-repeated", image=image_id, message=message))
            continue
        annotations[image_id] = {key: value for key, value in entry.items() if key not in wrong}
    return annotations


def read_segments(
    image_id: Any, annotation: Mapping[str, Any], categories: Mapping[int, Category], defects: list[Defect]
) -> Iterator[Segment]:
    """The segments of an annotation that have an id, each id once. What the JSON does not say is `NOT_GIVEN`."""
    seen: set[int] = set()
    num_unmeasured = 0

    def report(rule: str, message: str, segment_id: int | None) -> None:
        defects.append(Defect(rule=rule, image=image_id, segment=segment_id, message=f"image {image_id!r}: {message}"))

    for number, entry in enumerate(annotation.get("segments_info", [])):
        segment_id, category_id = (whole_number(entry_id(entry, key)) for key in ("id", "category_id"))
        if wrong := [key for key, value in (("id", segment_id), ("category_id", category_id)) if value is None]:
            report("entry-malformed", f"segments_info[{number}]: {malformed(wrong, entry)}", segment_id)
        if segment_id is None:
            continue
        if not 0 < segment_id <= MAX_SEGMENT_ID:
            report("segment-id", f"segment id {segment_id}", segment_id)
            continue
        if segment_id in seen:
            message = f"segments_info[{number}]: segment {segment_id} is there already"
            report("segment-repeated", message, segment_id)
            continue
        seen.add(segment_id)
        category = categories.get(category_id) if category_id is not None else None
        if category_id is not None and category is None:
            message = f"segment {segment_id} is of category {category_id}, which is not in categories"
            report("category-unknown", message, segment_id)
        crowd = entry.get("iscrowd", 0)
        if crowd not in (0, 1):
            report("crowd-value", f"segment {segment_id} has iscrowd {crowd!r:.40}", segment_id)
        elif crowd == 1 and category is not None and not category.is_thing:
            report("crowd-stuff", f"segment {segment_id} ({category.name}, stuff) has iscrowd 1", segment_id)
        area, bbox = _measures(entry)
        num_unmeasured += NOT_GIVEN in (area, bbox[0])
        yield Segment(
            id=segment_id,
            category_id=NOT_GIVEN if category_id is None else category_id,
            is_thing=category is not None and category.is_thing,
            area=area,
            is_crowd=crowd == 1,
            bbox=bbox,
        )
    if num_unmeasured:
        message = f"{num_unmeasured} of {len(seen)} segments lack area or bbox in whole numbers"
        report("measures-missing", message, None)


def entry_id(entry: Any, key: str) -> Any:
    """An id as a whole number where it is one, as the text that it is, or None."""
    value = entry.get(key) if isinstance(entry, Mapping) else None
    number = whole_number(value)
    return number if number is not None else value if isinstance(value, str) and value else None


def whole_number(value: Any) -> int | None:
    """3, 3.0 and "3" → 3; anything else → None."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


def wrong_keys(entry: Any, kinds: dict[str, type]) -> list[str]:
    """Keys that are missing or of the wrong kind; numbers must be positive, names printable and in their folder."""
    if not isinstance(entry, Mapping):
        return list(kinds)
    return [key for key, kind in kinds.items() if not _is_good(entry.get(key), kind)]


def malformed(keys: list[str], entry: Any) -> str:
    """What is wrong with an entry whose `keys` are missing or of the wrong kind."""
    return f"{', '.join(keys)} missing or wrong in {_abridged(entry)}"


def _is_good(value: Any, kind: type) -> bool:
    if kind is int:
        return (whole_number(value) or 0) > 0
    if kind is str:
        return isinstance(value, str) and value != "" and not _UNSAFE.search(value)
    return isinstance(value, kind)


def _color(value: Any) -> tuple[int, int, int] | None:
    numbers = [whole_number(v) for v in value[:3]] if isinstance(value, list) else []
    red, green, blue = numbers if len(numbers) == 3 else (None, None, None)
    return None if red is None or green is None or blue is None else (red, green, blue)


def _measures(entry: Mapping[str, Any]) -> tuple[int, Box]:
    """Area and box as the JSON gives them."""
    area = whole_number(entry.get("area"))
    given = entry.get("bbox")
    numbers = [whole_number(v) for v in given] if isinstance(given, list) and len(given) == 4 else [None]
    x, y, width, height = (NOT_GIVEN,) * 4 if None in numbers else [v for v in numbers if v is not None]
    return NOT_GIVEN if area is None else area, (x, y, width, height)


def _abridged(entry: Any) -> str:
    return f"{entry!r:.80}"
