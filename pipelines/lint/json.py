"""A panoptic JSON read as far as it goes: records for whatever can be used, and a defect for everything else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aunet.categories import Category
from aunet.data.coco_json import ImageRecord, SegmentRecord
from aunet.data.coco_panoptic import MAX_SEGMENT_ID
from pipelines.lint.rules import Defect

NOT_GIVEN = -1
"""Area, and all four numbers of a bbox, where the JSON does not say."""
_UNSAFE = re.compile(r"[\x00-\x1f\ud800-\udfff]|^/|(^|/)\.\.(/|$)")


@dataclass(kw_only=True)
class LenientAnnotations:
    """What could be made of a panoptic JSON."""

    num_images: int = 0
    """Entries of `images`, the unusable ones too."""
    records: dict[Any, ImageRecord] = field(default_factory=dict)
    """Image id → record. `height` and `width` are 0 and `panoptic_name` is empty where the JSON does not say."""
    categories: dict[int, Category] = field(default_factory=dict)
    raw_categories: list[Any] = field(default_factory=list)
    """As the JSON has them, with colours."""
    defects: list[Defect] = field(default_factory=list)


def read_leniently(data: bytes, place: str) -> LenientAnnotations:
    """Read a panoptic JSON, whatever is wrong with it. `place` is the file's name, for messages."""
    found = LenientAnnotations()
    whole = parse(data, place, ("images", "annotations", "categories"), found.defects)
    if whole is None:
        return found
    found.raw_categories = whole["categories"]
    found.categories = dict(_categories(whole["categories"], place, found.defects))
    annotations = _annotations(whole["annotations"], place, found.defects)
    found.num_images = len(whole["images"])
    if not whole["images"]:
        found.defects.append(Defect(rule="no-images", message=f"{place}: no images"))
    files: dict[str, Any] = {}
    for number, entry in enumerate(whole["images"]):
        wrong = _wrong(entry, {"file_name": str, "height": int, "width": int})
        image_id = entry_id(entry, "id")
        if image_id is None or not isinstance(image_id, int):
            wrong = ["id", *wrong]
        if wrong:
            said = f"{place}: images[{number}]: {_listed(wrong)} {_shown(entry)}"
            found.defects.append(Defect(rule="entry-malformed", image=image_id, message=said))
        if image_id is None:
            continue
        annotation = annotations.pop(image_id, None)
        if image_id in found.records:
            said = f"{place}: images[{number}]: id {image_id!r} is already that of {found.records[image_id].file_name}"
            found.defects.append(Defect(rule="image-id-repeated", image=image_id, message=said))
            continue
        name = entry["file_name"] if "file_name" not in wrong else ""
        if annotation is None:
            said = f"{place}: image {image_id!r} ({name}) has no annotation"
            found.defects.append(Defect(rule="image-unannotated", image=image_id, message=said))
            annotation = {}
        record = ImageRecord(
            image_id=image_id,
            file_name=name,
            height=0 if "height" in wrong else int(entry["height"]),
            width=0 if "width" in wrong else int(entry["width"]),
            panoptic_name=annotation.get("file_name", ""),
            segments=tuple(_segments(image_id, annotation, found)),
        )
        for kind, file in (("image", record.file_name), ("map", record.panoptic_name)):
            owner = files.setdefault(f"{kind} {file}", image_id) if file else image_id
            if owner != image_id:
                said = f"{place}: {kind} {file} of image {image_id!r} is also that of image {owner!r}"
                found.defects.append(Defect(rule="file-repeated", image=image_id, message=said))
        found.records[image_id] = record
    found.defects += [
        Defect(rule="annotation-orphan", image=i, message=f"{place}: images has no {i!r}, but an annotation is of it")
        for i in annotations
    ]
    return found


def parse(data: bytes, place: str, keys: tuple[str, ...], defects: list[Defect]) -> dict[str, Any] | None:
    """The JSON object with lists under `keys`, or None and a defect."""
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError) as error:
        said = f"{place}: not JSON ({error}; {len(data)} bytes starting with {data[:12]!r})"
        defects.append(Defect(rule="json-invalid", message=said))
        return None
    missing = [k for k in keys if not isinstance(whole, dict) or not isinstance(whole.get(k), list)]
    if missing:
        said = f"{place}: no list {', '.join(map(repr, missing))}"
        if missing == ["annotations"] and "images" in whole:
            said += ": images without annotations can be labelled with `predict`, not trained on or evaluated against"
        defects.append(Defect(rule="json-invalid", message=said))
        return None
    return whole


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


def _wrong(entry: Any, kinds: dict[str, type]) -> list[str]:
    """Keys that are missing or of the wrong kind; numbers must be positive, names printable and in their folder."""
    if not isinstance(entry, Mapping):
        return list(kinds)
    wrong = []
    for key, kind in kinds.items():
        value = entry.get(key)
        if kind is int:
            good = (whole_number(value) or 0) > 0
        elif kind is str:
            good = isinstance(value, str) and value and not _UNSAFE.search(value)
        else:
            good = isinstance(value, kind)
        wrong += [] if good else [key]
    return wrong


def _categories(entries: list[Any], place: str, defects: list[Defect]) -> Iterator[tuple[int, Category]]:
    ids: set[int] = set()
    names: set[str] = set()
    for number, entry in enumerate(entries):
        where = f"{place}: categories[{number}]: "
        category_id = entry_id(entry, "id")
        wrong = ["id"] if not isinstance(category_id, int) else []
        if wrong := wrong + _wrong(entry, {"name": str}):
            defects.append(Defect(rule="category-malformed", message=f"{where}{_listed(wrong)} {_shown(entry)}"))
        name = "" if "name" in wrong else entry["name"]
        is_thing = entry.get("isthing") if isinstance(entry, Mapping) else None
        if isinstance(entry, Mapping) and is_thing not in (0, 1):
            said = f"{where}isthing is {'missing' if is_thing is None else repr(is_thing)} {_shown(entry)}"
            defects.append(Defect(rule="isthing-missing", message=said))
        if name in names:
            defects.append(Defect(rule="category-name-repeated", message=f"{where}{name!r} is a name given before"))
        if category_id in ids:
            defects.append(Defect(rule="category-repeated", message=f"{where}{category_id} is an id given before"))
        elif isinstance(category_id, int):
            ids.add(category_id)
            yield category_id, Category(id=category_id, name=name or f"category {category_id}", is_thing=is_thing == 1)
        if name:
            names.add(name)


def _annotations(entries: list[Any], place: str, defects: list[Defect]) -> dict[Any, dict[str, Any]]:
    """Image id → annotation, cleared of keys that cannot be used."""
    found: dict[Any, dict[str, Any]] = {}
    for number, entry in enumerate(entries):
        image_id = entry_id(entry, "image_id")
        wrong = _wrong(entry, {"file_name": str, "segments_info": list})
        if wrong or image_id is None:
            keys = (["image_id"] if image_id is None else []) + wrong
            said = f"{place}: annotations[{number}]: {_listed(keys)} {_shown(entry)}"
            defects.append(Defect(rule="entry-malformed", image=image_id, message=said))
        if image_id is None:
            continue
        if image_id in found:
            said = f"{place}: annotations[{number}] is another one of image {image_id!r}"
            defects.append(Defect(rule="annotation-repeated", image=image_id, message=said))
            continue
        found[image_id] = {k: v for k, v in entry.items() if k not in wrong}
    return found


def _segments(image_id: Any, annotation: dict[str, Any], found: LenientAnnotations) -> Iterator[SegmentRecord]:
    """The segments that have an id, each id once."""
    seen: set[int] = set()
    unmeasured = 0

    def tell(rule: str, said: str, segment: int | None) -> None:
        message = f"image {image_id!r}: {said}"
        found.defects.append(Defect(rule=rule, image=image_id, segment=segment, message=message))

    for number, entry in enumerate(annotation.get("segments_info", [])):
        segment_id, category_id = (whole_number(entry_id(entry, key)) for key in ("id", "category_id"))
        if wrong := [k for k, v in (("id", segment_id), ("category_id", category_id)) if v is None]:
            tell("entry-malformed", f"segments_info[{number}]: {_listed(wrong)} {_shown(entry)}", segment_id)
        if segment_id is None:
            continue
        if not 0 < segment_id <= MAX_SEGMENT_ID:
            tell("segment-id", f"segment id {segment_id}", segment_id)
            continue
        if segment_id in seen:
            tell("segment-repeated", f"segments_info[{number}]: segment {segment_id} is there already", segment_id)
            continue
        seen.add(segment_id)
        category = found.categories.get(category_id) if category_id is not None else None
        if category_id is not None and category is None:
            said = f"segment {segment_id} is of category {category_id}, which is not in categories"
            tell("category-unknown", said, segment_id)
        crowd = entry.get("iscrowd", 0)
        if crowd not in (0, 1):
            tell("crowd-value", f"segment {segment_id} has iscrowd {crowd!r:.40}", segment_id)
        elif crowd == 1 and category is not None and not category.is_thing:
            tell("crowd-stuff", f"segment {segment_id} ({category.name}, stuff) has iscrowd 1", segment_id)
        area, bbox = _measures(entry)
        unmeasured += NOT_GIVEN in (area, bbox[0])
        yield SegmentRecord(
            id=segment_id,
            category_id=NOT_GIVEN if category_id is None else category_id,
            is_crowd=crowd == 1,
            area=area,
            bbox=bbox,
        )
    if unmeasured:
        tell("measures-missing", f"{unmeasured} of {len(seen)} segments lack area or bbox in whole numbers", None)


def _measures(entry: Any) -> tuple[int, tuple[int, int, int, int]]:
    area = whole_number(entry.get("area"))
    given = entry.get("bbox")
    box = [whole_number(v) for v in given] if isinstance(given, list) and len(given) == 4 else [None]
    x, y, width, height = (NOT_GIVEN,) * 4 if None in box else [v for v in box if v is not None]
    return NOT_GIVEN if area is None else area, (x, y, width, height)


def _listed(wrong: list[str]) -> str:
    return f"{', '.join(wrong)} missing or wrong in"


def _shown(entry: Any) -> str:
    return f"{entry!r:.80}"
