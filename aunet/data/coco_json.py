"""The panoptic JSON of a data set, read as far as it goes; strict readers raise what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from aunet.categories import Categories, Category
from aunet.data.coco_entries import (
    LISTS,
    entry_id,
    malformed,
    of_other_kind,
    parse_json,
    read_annotations,
    read_categories,
    read_segments,
    whole_number,
    without_lists,
    wrong_keys,
)
from aunet.data.defects import Defect, errors_of
from aunet.errors import InputError
from aunet.segments import Segment


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image and its panoptic annotation."""

    image_id: int
    file_name: str
    """Name of the image below the split's image folder; empty where the JSON does not say."""
    height: int
    """Pixels, as `width`; 0 where the JSON does not say."""
    width: int
    panoptic_name: str
    """Name of the PNG below the split's panoptic folder; empty where there is no annotation."""
    segments: tuple[Segment, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, name) for name in self.__slots__)  # faster than dataclass pickles


@dataclass(kw_only=True)
class PanopticAnnotations:
    """What a panoptic JSON says, as far as it can be used, and what is wrong with the rest."""

    source_name: str
    """Name of the file, for messages."""
    num_images: int = 0
    """Entries of `images`, the unusable ones too."""
    records: MutableMapping[Any, ImageRecord] = field(default_factory=dict)
    """Image id → record, in the order of the file's `images`."""
    categories_by_id: dict[int, Category] = field(default_factory=dict)
    defects: list[Defect] = field(default_factory=list)

    @property
    def images(self) -> tuple[ImageRecord, ...]:
        """The records, in the order of the file's `images`."""
        return tuple(self.records.values())

    @cached_property
    def categories(self) -> Categories:
        """All categories.

        Raises:
            InputError: there are none.
        """
        return Categories(tuple(self.categories_by_id.values()))

    def require_sound(self) -> None:
        """Accept no defect but warnings.

        Raises:
            InputError: every error of the file, with its cure.
        """
        check_image_ids(self.records, self.source_name)
        if errors := errors_of(self.defects):
            raise InputError(problem(error, self.source_name) for error in errors)


def read_panoptic_json(data: bytes, source_name: str, *, strict: bool = True) -> PanopticAnnotations:
    """Read a panoptic JSON.

    Args:
        data: the file's content.
        source_name: its name, for messages.
        strict: refuse a file with errors; otherwise they are in `defects`, and everything else can be used.

    Raises:
        InputError: every error of the file, where `strict`.
    """
    annotations = PanopticAnnotations(source_name=source_name)
    document = parse_json(data, source_name, LISTS["panoptic"], annotations.defects, "panoptic")
    if document is not None:
        lists = ((key, iter(document[key])) for key in LISTS["panoptic"])
        annotations = read_panoptic_lists(lists, source_name)
    if strict:
        annotations.require_sound()
    return annotations


def read_panoptic_lists(
    lists: Iterable[tuple[str, Iterator[Any]]],
    source_name: str,
    keep: Callable[[], MutableMapping[Any, Any]] = dict,
) -> PanopticAnnotations:
    """Read the lists of a panoptic JSON, each entry once and in the order of the file.

    Args:
        lists: of the file's lists, key and elements; each is read to its end before the next one begins.
        source_name: the file's name, for messages.
        keep: makes the mappings that grow with the number of images; they keep the order of their keys.
    """
    read = PanopticAnnotations(source_name=source_name, records=keep())
    images, annotations, owners = keep(), keep(), {"image": keep(), "map": keep()}
    categories: list[Any] = []
    defects: list[Defect] = []
    first: Mapping[str, Any] = {}
    missing = list(LISTS["panoptic"])
    try:
        for key, entries in lists:
            missing.remove(key)
            if key == "annotations":
                first = read_annotations(entries, source_name, defects, annotations)
            elif key == "images":
                images.update(enumerate(entries))
            else:
                categories = list(entries)
        message = without_lists(missing, LISTS["panoptic"], source_name) or of_other_kind(
            first, source_name, "panoptic"
        )
    except InputError as error:
        message = str(error)
    if message:
        read.defects.append(Defect(rule="json-invalid", message=message))
        return read
    read.categories_by_id = read_categories(categories, source_name, read.defects)
    read.defects += defects
    read.num_images = len(images)
    if not images:
        read.defects.append(Defect(rule="no-images", message=f"{source_name}: no images"))
    for number, entry in images.items():
        _read_image(read, number, entry, annotations, owners)
    num_annotated = len(read.records) - sum(defect.rule == "image-unannotated" for defect in read.defects)
    if num_annotated < len(annotations):
        for image_id in annotations:
            if image_id not in read.records:
                message = f"{source_name}: images has no {image_id!r}, but an annotation is of it"
                read.defects.append(Defect(rule="annotation-orphan", image=image_id, message=message))
    return read


def _read_image(
    read: PanopticAnnotations,
    number: int,
    entry: Any,
    annotations: Mapping[Any, dict[str, Any]],
    owners: dict[str, MutableMapping[str, Any]],
) -> None:
    """Add the record of an image to `read`.

    Args:
        owners: for images and for maps, name of the file → id of the image that has it.
    """
    source_name, defects = read.source_name, read.defects
    wrong = wrong_keys(entry, {"file_name": PurePosixPath, "height": int, "width": int})
    image_id = entry_id(entry, "id")
    if not isinstance(image_id, int):
        wrong = ["id", *wrong]
    if wrong:
        message = f"{source_name}: images[{number}]: {malformed(wrong, entry)}"
        defects.append(Defect(rule="entry-malformed", image=image_id, message=message))
    if image_id is None:
        return
    if image_id in read.records:
        owner = read.records[image_id].file_name
        message = f"{source_name}: images[{number}]: id {image_id!r} is already that of {owner}"
        defects.append(Defect(rule="image-id-repeated", image=image_id, message=message))
        return
    name = entry["file_name"] if "file_name" not in wrong else ""
    annotation = annotations.get(image_id)
    if annotation is None:
        message = f"{source_name}: image {image_id!r} ({name}) has no annotation"
        defects.append(Defect(rule="image-unannotated", image=image_id, message=message))
        annotation = {}
    record = ImageRecord(
        image_id=image_id,
        file_name=name,
        height=0 if "height" in wrong else whole_number(entry["height"]) or 0,
        width=0 if "width" in wrong else whole_number(entry["width"]) or 0,
        panoptic_name=annotation.get("file_name", ""),
        segments=tuple(read_segments(image_id, annotation, read.categories_by_id, defects)),
    )
    for kind, file in (("image", record.file_name), ("map", record.panoptic_name)):
        owner = owners[kind].setdefault(file, image_id) if file else image_id
        if owner != image_id:
            message = f"{source_name}: {kind} {file} of image {image_id!r} is also that of image {owner!r}"
            defects.append(Defect(rule="file-repeated", image=image_id, message=message))
    read.records[image_id] = record


def read_image_info(data: bytes, source_name: str) -> dict[str, int]:
    """The images that a JSON in COCO format lists, annotated or not: file name → image id, in the order of the file.

    Raises:
        InputError: every problem of the list: a missing key, a name or an id given twice.
    """
    defects: list[Defect] = []
    document = parse_json(data, source_name, ("images",), defects)
    entries = document["images"] if document else []
    if document is not None and not entries:
        defects.append(Defect(rule="no-images", message=f"{source_name}: no images"))
    check_image_ids((entry_id(entry, "id") for entry in entries), source_name)
    numbers: list[tuple[str, int]] = []
    for number, entry in enumerate(entries):
        image_id = entry_id(entry, "id")
        wrong = wrong_keys(entry, {"file_name": PurePosixPath})
        if isinstance(image_id, int) and not wrong:
            numbers.append((entry["file_name"], image_id))
            continue
        keys = wrong if isinstance(image_id, int) else ["id", *wrong]
        message = f"{source_name}: images[{number}]: {malformed(keys, entry)}"
        defects.append(Defect(rule="entry-malformed", message=message))
    problems = [problem(defect, source_name) for defect in defects]
    for key, values in (("id", [i for _, i in numbers]), ("file_name", [name for name, _ in numbers])):
        repeated = {value: count for value, count in Counter(values).items() if count > 1}
        problems += [f"{source_name}: {key} {v} is given {count} times; keep one" for v, count in repeated.items()]
    if problems:
        raise InputError(problems)
    return dict(numbers)


def check_image_ids(ids: Iterable[Any], source_name: str) -> None:
    """Refuse names where image ids must be numbers, as in the JSON of Cityscapes' official conversion.

    Raises:
        InputError: the first name, and what to do.
    """
    name = next((i for i in ids if isinstance(i, str) and not i.isdigit()), None)
    if name is not None:
        raise InputError(
            f"{source_name}: image id {name!r:.80} is not a number; number the images, or, for Cityscapes, name the "
            "folder of the *_instanceIds.png as instance_ids instead of this file"
        )


def problem(defect: Defect, source_name: str) -> str:
    """One line for people: the file, what is wrong with it, the cure."""
    where = "" if defect.message.startswith(source_name) else f"{source_name}: "
    return f"{where}{defect.message}; {defect.cure}"
