"""The rules that raw data are checked against, and what is reported where one is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]
Scope = Literal["image", "data"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: how much it matters, what breaks it, what fixes it."""

    severity: Severity
    scope: Scope
    """An error of scope `image` costs that image, one of scope `data` costs the whole split."""
    what: str
    cure: str


_DATA_ERRORS = {
    "json-invalid": ("a JSON file cannot be read as COCO format", "fetch or write the file again"),
    "no-images": ("the JSON names no image", "name at least one image"),
    "category-malformed": ("a category lacks id or name, or they are of the wrong kind", "complete the category"),
    "category-repeated": ("two categories have one id", "give every category an id of its own"),
    "category-name-repeated": ("two categories have one name", "give every category a name of its own"),
    "isthing-missing": ("a category does not say whether it is a thing", "set isthing to 1 (thing) or 0 (stuff)"),
    "category-differs": ("the two splits have different categories", "give both splits one list"),
}
_IMAGE_ERRORS = {
    "entry-malformed": ("an entry lacks a key, or its value is of the wrong kind", "complete or drop the entry"),
    "image-id-repeated": ("two images have one id", "give every image an id of its own"),
    "file-repeated": ("two entries name one file", "give every image and every map a file of its own"),
    "image-unannotated": ("an image has no annotation", "annotate the image or drop it"),
    "annotation-orphan": ("an annotation belongs to no image", "add the image or drop the annotation"),
    "annotation-repeated": ("an image has two annotations", "keep one"),
    "segment-repeated": ("two segments of an image have one id", "give every segment an id of its own"),
    "segment-id": ("a segment id that no colour can hold", "use an id in 1 … 16777215"),
    "segment-empty": ("a segment of area 0 that has no pixel", "drop the segment"),
    "category-unknown": ("a segment's category is not in categories", "correct it or add the category"),
    "crowd-value": ("iscrowd is neither 0 nor 1", "set it to 0 or 1"),
    "crowd-stuff": ("a stuff segment is marked as a crowd", "set iscrowd to 0; only things come in crowds"),
    "image-missing": ("the image file does not exist", "add the file or drop the image"),
    "image-unreadable": ("the image file cannot be read or decoded", "fetch the file again"),
    "image-truncated": ("the image file ends too early", "fetch the file again"),
    "image-not-picture": ("the file is not a picture, whatever its name says", "fetch the file again"),
    "image-format": ("a picture of another format than JPEG and PNG", "convert it to JPEG or PNG"),
    "image-bomb": ("so many pixels that decoding could exhaust the memory", "make the picture smaller"),
    "image-16-bit": ("more than 8 bits per channel", "convert it to 8-bit RGB"),
    "image-cmyk": ("printing colours, which every reader turns into RGB in its own way", "convert it to 8-bit RGB"),
    "image-rotated": (
        "an EXIF tag turns the picture, and not every reader obeys",
        "store it upright without the tag and check that the map fits",
    ),
    "size-mismatch": ("JSON, image and map differ in size", "correct the one that is wrong"),
    "map-missing": ("the panoptic PNG does not exist", "add the file or drop the annotation"),
    "map-unreadable": ("the panoptic PNG cannot be read or decoded", "fetch or write the file again"),
    "map-mode": ("the map is not an 8-bit RGB PNG", "write it again with id = R + 256·G + 256²·B"),
    "map-bgr": (
        "the map is written as BGR: with channels 0 and 2 swapped its ids are those of the JSON",
        "swap channels 0 and 2 of the PNG: red holds the lowest byte of an id",
    ),
    "segment-not-in-map": ("a segment of the JSON has no pixel in the map", "paint it or drop the segment"),
    "segment-not-in-json": ("an id of the map is not in the JSON", "add the segment or paint it void (0)"),
    "area-wrong": ("a segment's area is not its number of pixels", "count the pixels of the map again"),
    "bbox-wrong": ("a segment's bbox is not the box around its pixels", "measure the map again: [x, y, w, h]"),
    "instance-none": (
        "the map has things that are not crowds, the instances JSON has none in that image",
        "export both JSON files from the same images, with the same image ids",
    ),
    "instance-category": ("an instance's category is not a thing of the panoptic JSON", "correct the category"),
    "instance-box": ("an instance's bbox is not a box within the image", "give [x, y, w, h] within the image"),
    "instance-mask": ("a polygon or run-length mask cannot be drawn on the image", "export the mask again"),
    "instance-empty": ("an instance's mask covers no pixel", "drop the instance"),
    "instance-repeated": ("two instances have one id", "give every instance an id of its own"),
    "leak-exact": ("the same file is in the other split", "drop it from one of the two splits"),
}
_DATA_WARNINGS = {
    "file-unused": ("files that no entry names", "remove them, or add what the JSON lacks"),
    "class-empty": ("a category without any segment", "add examples, or drop the category"),
    "class-few": ("a category with fewer than 10 segments", "add examples; so few cannot be learnt or scored"),
    "class-all-crowd": ("a thing that occurs only in crowds", "annotate single instances, or make it stuff"),
    "category-color": (
        "a category's colour cannot be read; another one is drawn",
        "give [red, green, blue] in 0 … 255",
    ),
    "instance-image": ("an instance of an image that the panoptic JSON lacks", "drop it; it is not used"),
}
_IMAGE_WARNINGS = {
    "measures-missing": ("segments without area or bbox", "add them; here they are counted from the map"),
    "instance-elsewhere": (
        "instances whose boxes meet no segment of their category",
        "check that image ids mean the same images in both JSON files",
    ),
    "map-void": ("the map is void everywhere", "annotate the image or drop it; nothing is learnt from it"),
    "image-twice": ("the same file twice in one split", "keep one"),
    "leak-near": ("a picture that looks like one of the other split", "compare both; drop one if they are the same"),
}
RULES: Mapping[str, Rule] = {
    **{name: Rule("error", "data", *texts) for name, texts in _DATA_ERRORS.items()},
    **{name: Rule("error", "image", *texts) for name, texts in _IMAGE_ERRORS.items()},
    **{name: Rule("warning", "data", *texts) for name, texts in _DATA_WARNINGS.items()},
    **{name: Rule("warning", "image", *texts) for name, texts in _IMAGE_WARNINGS.items()},
}
"""Rule id → rule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """One spot at which the data break a rule."""

    rule: str
    message: str
    image: Any = None
    """Image id as the JSON has it; None where the defect does not belong to a single image."""
    segment: int | None = None
    """Segment id, or the id of an instance."""
    twin: str = ""
    """For pictures that occur twice: the URI of the other one."""

    @property
    def severity(self) -> Severity:
        return RULES[self.rule].severity

    @property
    def cure(self) -> str:
        return RULES[self.rule].cure

    def to_json(self) -> dict[str, Any]:
        """The entry in the result of `lint-data`."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "image": self.image,
            "segment": self.segment,
            "message": self.message,
            "cure": self.cure,
        }


def errors_of(defects: Iterable[Defect], *, counted: bool = False) -> list[Defect]:
    """The errors among `defects`; with `counted`, without those of areas and boxes that the reader counts itself."""
    return [d for d in defects if d.severity == "error" and not (counted and d.rule in ("area-wrong", "bbox-wrong"))]


def quarantine(defects: Iterable[Defect]) -> dict[Any, list[Defect]]:
    """Image id → the errors for which a strict reader leaves that image out."""
    reasons: dict[Any, list[Defect]] = {}
    for defect in errors_of(defects):
        if defect.image is not None:
            reasons.setdefault(defect.image, []).append(defect)
    return reasons


def blocking(defects: Iterable[Defect]) -> list[Defect]:
    """The errors that leave no image usable: those of the categories and of whole files."""
    return [d for d in errors_of(defects) if RULES[d.rule].scope == "data"]


def counts(defects: Iterable[Defect]) -> dict[str, int]:
    """Rule id → number of defects, errors first, in the order of `RULES`."""
    numbers = Counter(d.rule for d in defects)
    return {rule: numbers[rule] for rule in RULES if rule in numbers}
