"""The rules that raw data are held to, and what is said where one is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: how much it matters, what breaks it, what mends it."""

    severity: Severity
    scope: Literal["image", "data"]
    """An error of scope `image` costs that image, one of scope `data` costs the whole split."""
    what: str
    cure: str


def _rules(severity: Severity, scope: Literal["image", "data"], **texts: tuple[str, str]) -> dict[str, Rule]:
    return {name.replace("_", "-"): Rule(severity, scope, what, cure) for name, (what, cure) in texts.items()}


RULES: Mapping[str, Rule] = {
    **_rules(
        "error", "data",
        json_invalid=("a JSON file cannot be read as COCO format", "fetch or write the file again"),
        no_images=("the JSON names no image", "name at least one image"),
        category_malformed=("a category lacks id or name, or they are of the wrong kind", "complete the category"),
        category_repeated=("two categories have one id", "give every category an id of its own"),
        category_name_repeated=("two categories have one name", "give every category a name of its own"),
        isthing_missing=("a category does not say whether it is a thing", "set isthing to 1 (thing) or 0 (stuff)"),
        category_differs=("the two splits have different categories", "give both splits one list"),
    ),
    **_rules(
        "error", "image",
        entry_malformed=("an entry lacks a key, or its value is of the wrong kind", "complete or drop the entry"),
        image_id_repeated=("two images have one id", "give every image an id of its own"),
        file_repeated=("two entries name one file", "give every image and every map a file of its own"),
        image_unannotated=("an image has no annotation", "annotate the image or drop it"),
        annotation_orphan=("an annotation belongs to no image", "add the image or drop the annotation"),
        annotation_repeated=("an image has two annotations", "keep one"),
        segment_repeated=("two segments of an image have one id", "give every segment an id of its own"),
        segment_id=("a segment id that no colour can hold", "take an id in 1 … 16777215"),
        segment_empty=("a segment of area 0 that has no pixel", "drop the segment"),
        category_unknown=("a segment's category is not in categories", "correct it or add the category"),
        crowd_value=("iscrowd is neither 0 nor 1", "set it to 0 or 1"),
        crowd_stuff=("a stuff segment is marked as a crowd", "set iscrowd to 0; only things come in crowds"),
        image_missing=("the image file is not there", "add the file or drop the image"),
        image_unreadable=("the image file cannot be read or decoded", "fetch the file again"),
        image_truncated=("the image file ends too early", "fetch the file again"),
        image_not_picture=("no picture, whatever its name says", "fetch the file again"),
        image_bomb=("so many pixels that decoding could exhaust the memory", "make the picture smaller"),
        image_16_bit=("more than 8 bits per channel", "convert it to 8-bit RGB"),
        image_cmyk=("printing colours, which readers turn into RGB each in its own way", "convert it to 8-bit RGB"),
        image_rotated=("an EXIF tag turns the picture, and not every reader obeys",
                       "store it upright without the tag and check that the map fits"),
        size_mismatch=("JSON, image and map are not of one size", "correct the one that is wrong"),
        map_missing=("the panoptic PNG is not there", "add the file or drop the annotation"),
        map_unreadable=("the panoptic PNG cannot be read or decoded", "fetch or write the file again"),
        map_mode=("the map is no 8-bit RGB PNG", "write it again with id = R + 256·G + 256²·B"),
        segment_not_in_map=("a segment of the JSON has no pixel in the map", "paint it or drop the segment"),
        segment_not_in_json=("an id of the map is not in the JSON", "add the segment or paint it void (0)"),
        area_wrong=("a segment's area is not its number of pixels", "count the pixels of the map again"),
        bbox_wrong=("a segment's bbox is not the box around its pixels", "measure the map again: [x, y, w, h]"),
        instance_category=("an instance's category is no thing of the panoptic JSON", "correct the category"),
        instance_box=("an instance's bbox is no box within the image", "give [x, y, w, h] within the image"),
        instance_mask=("a polygon or run-length mask cannot be drawn on the image", "export the mask again"),
        instance_empty=("an instance's mask covers no pixel", "drop the instance"),
        instance_repeated=("two instances have one id", "give every instance an id of its own"),
        leak_exact=("the same file is in the other split", "drop it from one of the two splits"),
    ),
    **_rules(
        "warning", "data",
        file_unused=("files that no entry names", "remove them, or add what the JSON lacks"),
        class_empty=("a category without any segment", "add examples, or drop the category"),
        class_few=("a category with fewer than 10 segments", "add examples; so few cannot be learnt or scored"),
        class_all_crowd=("a thing that occurs in crowds alone", "annotate single instances, or make it stuff"),
        instance_image=("an instance of an image that the panoptic JSON does not have", "drop it; it is not used"),
    ),
    **_rules(
        "warning", "image",
        measures_missing=("segments without area or bbox", "add them; here they are counted from the map"),
        map_void=("the map is void everywhere", "annotate the image or drop it; nothing is learnt from it"),
        image_twice=("the same file twice in one split", "keep one"),
        leak_near=("a picture that looks like one of the other split", "look at both; drop one if they are the same"),
    ),
}  # fmt: skip
"""Rule id → rule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """One place where the data break a rule."""

    rule: str
    message: str
    image: Any = None
    """Image id as the JSON has it; None where the defect is of no single image."""
    segment: int | None = None
    """Segment id, or the id of an instance."""
    twin: str = ""
    """For pictures that are there twice: the URI of the other one."""

    @property
    def severity(self) -> Severity:
        return RULES[self.rule].severity

    def to_json(self) -> dict[str, Any]:
        """As it stands in the result of `lint-data`."""
        return {
            "rule": self.rule, "severity": self.severity, "image": self.image, "segment": self.segment,
            "message": self.message, "cure": RULES[self.rule].cure,
        }  # fmt: skip


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
    """The errors that leave no image usable: of the categories, of a whole file."""
    return [d for d in errors_of(defects) if RULES[d.rule].scope == "data"]


def counts(defects: Iterable[Defect]) -> dict[str, int]:
    """Rule id → number of defects, errors first, in the order of `RULES`."""
    found = Counter(d.rule for d in defects)
    return {rule: found[rule] for rule in RULES if rule in found}
