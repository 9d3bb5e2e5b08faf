"""Instances against their panoptic JSON: categories, boxes and masks, none of which reaches C code unchecked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from pycocotools import mask as coco_mask

from aunet.categories import Category
from aunet.data.coco_json import ImageRecord, PanopticAnnotations
from aunet.data.defects import Defect, errors_of
from aunet.data.instance_checks import _unpacked_runs, check_instances, check_instances_json
from aunet.data.instances import read_instances
from aunet.segments import NO_BOX, Segment

PANOPTIC = PanopticAnnotations(
    source_name="p.json",
    num_images=1,
    records={3: ImageRecord(image_id=3, file_name="a", height=10, width=20, panoptic_name="b", segments=())},
    categories_by_id={1: Category(id=1, name="car", is_thing=True), 5: Category(id=5, name="road", is_thing=False)},
)
POLYGON = [[2, 2, 8, 2, 8, 8, 2, 8]]
GOOD = {"id": 11, "image_id": 3, "category_id": 1, "iscrowd": 0, "bbox": [2, 2, 6, 6], "segmentation": POLYGON}
RLE = {"size": [10, 20], "counts": [0, 50, 150]}


def check(entries: Iterable[Any], panoptic: PanopticAnnotations) -> list[Defect]:
    return check_instances_json([("annotations", iter(entries))], "i.json", panoptic)


def rules(*entries: Any) -> list[tuple[str, Any, int | None]]:
    return [(d.rule, d.image, d.segment) for d in check(entries, PANOPTIC)]


def packed(counts: list[int]) -> str:
    runs: Any = {"size": [10, 20], "counts": counts}
    return coco_mask.frPyObjects(runs, 10, 20)["counts"].decode()


@pytest.mark.parametrize("mask", [POLYGON, RLE, {"size": [10, 20], "counts": packed([0, 50, 150])}])
def test_good_instances(mask: Any) -> None:
    assert rules({**GOOD, "segmentation": mask}, {**GOOD, "id": 12, "bbox": [-0.5, 0, 20.9, 10]}) == []


BOXES = ([2, 2, 6], [2, 2, 0, 6], [15, 2, 9, 6], [2, -3, 6, 6], ["a"] * 4, 7)
MASKS = (
    "x",
    [[1, 2, 3, 4]],
    [[1, 2, 3, 4, 5]],
    [[2, 2, 800, 2, 8, 8]],
    [["a"] * 6],
    [1, 2],
    {"size": [20, 10], "counts": [200]},
    {"size": [10, 20], "counts": [199]},
    {"counts": [200]},
    {"size": [10, 20], "counts": [-1, 201]},
    {"size": [10, 20], "counts": [0.5, 199.5]},
    {"size": [10, 20], "counts": "~~~"},
    {"size": [10, 20], "counts": packed([0, 50, 140])},
    {"size": [10, 20], "counts": None},
    [[1e9, 1e9, 2e9, 2e9, 3e9, 1e9]],
    [[10**400] * 6],
)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("instance-category", {"category_id": 5}),
        ("instance-category", {"category_id": 99}),
        ("instance-category", {"category_id": "car"}),
        ("crowd-value", {"iscrowd": 3}),
        *[("instance-box", {"bbox": bbox}) for bbox in BOXES],
        *[("instance-mask", {"segmentation": mask}) for mask in MASKS],
        *[("instance-empty", {"segmentation": mask}) for mask in ([], {"size": [10, 20], "counts": [200]})],
    ],
)
def test_a_planted_defect(rule: str, change: dict[str, Any]) -> None:
    assert rules(GOOD, {**GOOD, "id": 12, **change}) == [(rule, 3, 12)]


def test_ids_images_and_keys() -> None:
    assert rules(GOOD, GOOD) == [("instance-repeated", 3, 11)]
    assert rules({**GOOD, "image_id": 4}, {**GOOD, "image_id": 4}) == [("instance-image", 4, None)]
    assert rules({"id": 1, "image_id": 3}, "x") == [("entry-malformed", None, None), ("entry-malformed", 3, 1)]
    assert [d.rule for d in check_instances_json([], "i.json", PANOPTIC)] == ["json-invalid"]


def with_segments(*segments: Segment) -> PanopticAnnotations:
    records = {
        image_id: replace(PANOPTIC.records[3], image_id=image_id, file_name=f"{image_id}.jpg", segments=segments)
        for image_id in (3, 4)
    }
    return replace(PANOPTIC, records=records)


def test_instances_of_other_images_are_an_error() -> None:
    """Training would see no box."""
    thing = Segment(9, 1, is_thing=True, area=36, bbox=(2, 2, 6, 6))
    shifted = [{**GOOD, "image_id": 4}, {**GOOD, "id": 12, "image_id": 5}]
    defects = check(shifted, with_segments(thing))
    assert [(d.rule, d.image, d.severity) for d in defects] == [
        ("instance-image", 5, "warning"),
        ("instance-none", 3, "error"),
    ]
    assert defects[1].message == "i.json: image 3 (3.jpg) has 1 things and no instance"


@pytest.mark.parametrize(
    "segment",
    [
        Segment(9, 1, is_thing=True, area=36, is_crowd=True, bbox=(2, 2, 6, 6)),
        Segment(9, 5, is_thing=False, area=36, bbox=(2, 2, 6, 6)),
    ],
)
def test_images_of_crowds_and_stuff_need_no_instance(segment: Segment) -> None:
    assert check([], with_segments(segment)) == []


def test_instances_where_no_segment_of_their_category_is_are_a_warning() -> None:
    here, there = (Segment(n, 1, is_thing=True, area=4, bbox=(x, 2, 2, 2)) for n, x in ((9, 2), (10, 15)))
    entries = [{**GOOD, "image_id": 3}, {**GOOD, "id": 12, "image_id": 4}]
    assert check(entries, with_segments(here, there)) == []
    defects = check(entries, with_segments(there))
    assert [(d.rule, d.image, d.severity) for d in defects] == [
        ("instance-elsewhere", 3, "warning"),
        ("instance-elsewhere", 4, "warning"),
    ]
    unknown = replace(there, bbox=NO_BOX)
    assert check(entries, with_segments(unknown)) == []


@pytest.mark.parametrize("category_id", ["car", None, -1, True, [0], 1.5])
def test_names_do_not_become_category_0(category_id: Any) -> None:
    panoptic = replace(PANOPTIC, categories_by_id={0: Category(id=0, name="car", is_thing=True)})
    defects = check([{**GOOD, "category_id": category_id}], panoptic)
    assert defects and {d.rule for d in defects} <= {"instance-category", "entry-malformed"}
    assert check([{**GOOD, "category_id": 0}], panoptic) == []


@pytest.mark.parametrize("value", ["0", "1", None, []])
def test_crowds_as_text_are_refused(value: Any) -> None:
    assert rules({**GOOD, "iscrowd": value}) == [("crowd-value", 3, 11)]


def test_a_panoptic_json_is_called_one() -> None:
    (defect,) = check([{"image_id": 3, "segments_info": []}], PANOPTIC)
    assert defect.message == "i.json: this is the panoptic JSON of a data set; give its instances JSON here"


SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 300) | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["size", "counts"]), inner)
)
MASK_VALUES = (
    VALUES
    | st.lists(st.lists(st.floats(-2, 22), min_size=4, max_size=12), max_size=3)
    | st.fixed_dictionaries(
        {"size": st.just([10, 20]), "counts": st.text("0123456789PQRSTUVWabcdefgh`_~", max_size=12)}
    )
    | st.fixed_dictionaries({"size": st.just([10, 20]), "counts": st.lists(st.integers(-1, 200), max_size=5)})
)


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries({}, optional={key: VALUES for key in GOOD if key != "segmentation"}), MASK_VALUES)
def test_whatever_has_no_defect_is_read(changes: dict[str, Any], mask: Any) -> None:
    """Nothing that pycocotools would stumble over, or read outside of its memory for, reaches it."""
    entry = {**GOOD, **changes, "image_id": 3, "segmentation": mask}
    defects = check_instances([entry], "i.json", PANOPTIC.records[3], PANOPTIC.categories_by_id)
    json.dumps([defect.to_json() for defect in defects])
    if not errors_of(defects):
        (instance,) = read_instances([entry], PANOPTIC.records[3])
        assert coco_mask.decode({"size": [10, 20], "counts": instance.rle.encode()}).shape == (10, 20)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=12))
def test_packed_run_lengths_are_those_of_pycocotools(counts: list[int]) -> None:
    counts = [*counts, max(0, 200 - sum(counts))]
    assert _unpacked_runs(packed(counts)) == counts
    if sum(counts) == 200:
        decoded = coco_mask.decode({"size": [10, 20], "counts": packed(counts).encode()})
        assert int(np.sum(decoded)) == sum(counts[1::2])
