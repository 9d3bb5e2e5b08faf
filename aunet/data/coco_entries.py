"""The entries of COCO's JSON files: whatever can be used of them, and a defect for everything else."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping
from pathlib import PurePosixPath
from typing import Any, Literal

from aunet.categories import Category, read_color, read_flag
from aunet.data.coco_panoptic import MAX_SEGMENT_ID
from aunet.data.defects import Defect
from aunet.documents import read_object
from aunet.errors import InputError
from aunet.names import MAX_PART, inner_path, printable
from aunet.segments import NO_BOX, NOT_GIVEN, Box, Segment

MAX_NUMBER = 2**63 - 1
"""The largest id, length or area: prepared data hold 64-bit numbers."""
_MARKS = {"panoptic": "segments_info", "instances": "segmentation"}
"""What only the annotations of a kind of JSON have."""
JsonKind = Literal["panoptic", "instances"]
LISTS: Mapping[JsonKind, tuple[str, ...]] = {
    "panoptic": ("images", "annotations", "categories"),
    "instances": ("annotations",),
}
"""The lists that a kind of JSON holds."""


def parse_json(
    data: bytes,
    source_name: str,
    lists: tuple[str, ...],
    defects: list[Defect],
    kind: JsonKind | None = None,
) -> dict[str, Any] | None:
    """The JSON object, which holds all of `lists`; None, and a defect, where it cannot be read or lacks one.

    Args:
        kind: what its annotations are expected to be; those of the other kind are a defect, too.
    """
    try:
        document = read_object(data, source_name)
    except InputError as error:
        defects.append(Defect(rule="json-invalid", message=str(error)))
        return None
    missing = [key for key in lists if not isinstance(document.get(key), list)]
    message = without_lists(missing, document, source_name)
    if kind and not message:
        message = of_other_kind(_first_object(document["annotations"]), source_name, kind)
    if message:
        defects.append(Defect(rule="json-invalid", message=message))
        return None
    return document


def without_lists(missing: list[str], keys: Collection[str], source_name: str) -> str:
    """The message for a JSON with `keys` in which lists are missing; empty where none is."""
    if not missing:
        return ""
    message = f"{source_name}: no list {', '.join(map(repr, missing))}"
    if missing == ["annotations"] and "images" in keys:
        message += ": images without annotations can be labelled with `predict`, not trained on or evaluated against"
    return message


def of_other_kind(annotation: Mapping[str, Any], source_name: str, kind: JsonKind) -> str:
    """The message for a JSON with such an annotation where it is of another kind than `kind`; else empty."""
    if _MARKS[kind] in annotation:
        return ""
    other = next((other for other, mark in _MARKS.items() if mark in annotation), None)
    return f"{source_name}: this is the {other} JSON of a data set; give its {kind} JSON here" if other else ""


def _first_object(entries: Iterable[Any]) -> Mapping[str, Any]:
    return next((entry for entry in entries if isinstance(entry, Mapping)), {})


def read_categories(entries: list[Any], source_name: str, defects: list[Defect]) -> dict[int, Category]:
    """Category id → category, each id once."""
    categories: dict[int, Category] = {}
    names: dict[str, str] = {}
    for number, entry in enumerate(entries):
        where = f"{source_name}: categories[{number}]: "
        category_id = entry_id(entry, "id")
        wrong = ["id"] if not isinstance(category_id, int) else []
        if wrong := wrong + wrong_keys(entry, {"name": str}):
            defects.append(Defect(rule="category-malformed", message=f"{where}{malformed(wrong, entry)}"))
        name = "" if "name" in wrong else entry["name"]
        given = entry.get("isthing") if isinstance(entry, Mapping) else None
        if isinstance(entry, Mapping) and read_flag(given) is None:
            message = f"{where}isthing is {'missing' if given is None else f'{given!r:.40}'} {_abridged(entry)}"
            defects.append(Defect(rule="isthing-missing", message=message))
        if (normal := unicodedata.normalize("NFC", name)) in names:
            twin = names[normal]
            also = " (another Unicode normalisation, NFC or NFD, looks the same)" if twin != name else ""
            message = f"{where}{name!r} is a name given before{also}"
            defects.append(Defect(rule="category-name-repeated", message=message))
        if category_id in categories:
            defects.append(Defect(rule="category-repeated", message=f"{where}{category_id} is an id given before"))
        elif isinstance(category_id, int):
            color = read_color(entry.get("color"))
            if color is None and entry.get("color") is not None:
                message = f"{where}color {entry['color']!r:.40} is neither [red, green, blue] nor #rrggbb"
                defects.append(Defect(rule="category-color", message=message))
            categories[category_id] = Category(
                id=category_id,
                name=name or f"category {category_id}",
                is_thing=read_flag(given) is True,
                color=color,
            )
        if name:
            names.setdefault(normal, name)
    return categories


def read_annotations(
    entries: Iterable[Any], source_name: str, defects: list[Defect], annotations: MutableMapping[Any, dict[str, Any]]
) -> Mapping[str, Any]:
    """Enter into `annotations`, by image id, each annotation without the keys that cannot be used; of several of one
    image, the first. Gives the first entry that is an object."""
    first: Mapping[str, Any] = {}
    for number, entry in enumerate(entries):
        first = first or (entry if isinstance(entry, Mapping) else {})
        image_id = entry_id(entry, "image_id")
        wrong = wrong_keys(entry, {"file_name": PurePosixPath, "segments_info": list})
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
    return first


def read_segments(
    image_id: Any, annotation: Mapping[str, Any], categories: Mapping[int, Category], defects: list[Defect]
) -> Iterator[Segment]:
    """The segments of an annotation that have an id, each id once. What the JSON does not say is `NOT_GIVEN`."""
    seen: set[int] = set()
    num_unmeasured = 0

    def report(rule: str, message: str, segment_id: int | None) -> None:
        defects.append(Defect(rule=rule, image=image_id, segment=segment_id, message=f"image {image_id!r}: {message}"))

    for number, entry in enumerate(annotation.get("segments_info", [])):
        given = entry if isinstance(entry, dict) else {}
        segment_id, category_id = whole_number(given.get("id")), whole_number(given.get("category_id"))
        if segment_id is None or category_id is None:
            wrong = [key for key, value in (("id", segment_id), ("category_id", category_id)) if value is None]
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
        is_crowd = read_flag(given.get("iscrowd", 0))
        if is_crowd is None:
            report("crowd-value", f"segment {segment_id} has iscrowd {given['iscrowd']!r:.40}", segment_id)
        elif is_crowd and category is not None and not category.is_thing:
            report("crowd-stuff", f"segment {segment_id} ({category.name}, stuff) has iscrowd 1", segment_id)
        area, bbox = _measures(given)
        num_unmeasured += NOT_GIVEN in (area, bbox[0])
        yield Segment(
            id=segment_id,
            category_id=NOT_GIVEN if category_id is None else category_id,
            is_thing=category is not None and category.is_thing,
            area=area,
            is_crowd=is_crowd is True,
            bbox=bbox,
        )
    if num_unmeasured:
        message = f"{num_unmeasured} of {len(seen)} segments lack area or bbox in whole numbers"
        report("measures-missing", message, None)


def entry_id(entry: Any, key: str) -> Any:
    """An id as a whole number of 0 or more where it is one, as the text that it is, or None."""
    value = entry.get(key) if isinstance(entry, Mapping) else None
    number = whole_number(value)
    if number is not None:
        return number if number >= 0 else None
    return value if isinstance(value, str) and _is_printable(value) else None


def whole_number(value: Any) -> int | None:
    """3, 3.0 and "3" → 3, as long as 64 bits hold it; anything else → None."""
    if type(value) is int:
        return value if abs(value) <= MAX_NUMBER else None
    if isinstance(value, str) and len(value) < 40:
        digits = value.strip()
        number = int(digits) if digits.isascii() and digits.isdigit() else None
    elif isinstance(value, float):
        number = int(value) if value.is_integer() else None
    else:
        return None
    return number if number is not None and abs(number) <= MAX_NUMBER else None


def wrong_keys(entry: Any, kinds: dict[str, type]) -> list[str]:
    """Keys that are missing or of the wrong kind: `int` is a positive number, `str` a text that can be printed,
    `PurePosixPath` a file's name below its folder."""
    if not isinstance(entry, Mapping):
        return list(kinds)
    return [key for key, kind in kinds.items() if not _is_good(entry.get(key), kind)]


def malformed(keys: list[str], entry: Any) -> str:
    """What is wrong with an entry whose `keys` are missing or of the wrong kind."""
    name = entry.get("file_name") if "file_name" in keys and isinstance(entry, Mapping) else None
    reason = _why_not_inside(name) if isinstance(name, str) else ""
    return f"{', '.join(keys)} missing or wrong in {_abridged(entry)}{f': {reason}' if reason else ''}"


def _is_good(value: Any, kind: type) -> bool:
    if kind is int:
        return (whole_number(value) or 0) > 0
    if kind is str:
        return isinstance(value, str) and _is_printable(value)
    if kind is PurePosixPath:
        return isinstance(value, str) and not _why_not_inside(value)
    return isinstance(value, kind)


def _is_printable(text: str) -> bool:
    return text.strip() != "" and len(text) <= MAX_PART and printable(text) == text


def _why_not_inside(name: str) -> str:
    """Why a file name is not that of a file below its folder, with a form that would be; empty where it is."""
    try:
        inner_path(name)
    except ValueError as error:
        last = name.rpartition("/")[2]
        return (
            f"{error}; write it relative to its folder{f', such as {printable(last):.80}' if last.strip('.') else ''}"
        )
    return ""


def _measures(entry: Mapping[str, Any]) -> tuple[int, Box]:
    """Area and box as the JSON gives them."""
    area = whole_number(entry.get("area"))
    given = entry.get("bbox")
    box = NO_BOX
    if isinstance(given, list) and len(given) == 4:
        x, y, width, height = map(whole_number, given)
        if not (x is None or y is None or width is None or height is None):
            box = x, y, width, height
    return NOT_GIVEN if area is None else area, box


def _abridged(entry: Any) -> str:
    return printable(f"{entry!r:.80}")
