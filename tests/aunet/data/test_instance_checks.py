"""Instances against their panoptic JSON: categories, boxes and masks, none of which reaches C code unchecked."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from pycocotools import mask as coco_mask

from aunet.categories import Category
from aunet.data.coco_json import ImageRecord, PanopticAnnotations
from aunet.data.instance_checks import _unpacked_runs, check_instances_json

PANOPTIC = PanopticAnnotations(
    source_name="p.json",
    num_images=1,
    records={3: ImageRecord(image_id=3, file_name="a", height=10, width=20, panoptic_name="b", segments=())},
    categories_by_id={1: Category(id=1, name="car", is_thing=True), 5: Category(id=5, name="road", is_thing=False)},
)
POLYGON = [[2, 2, 8, 2, 8, 8, 2, 8]]
GOOD = {"id": 11, "image_id": 3, "category_id": 1, "iscrowd": 0, "bbox": [2, 2, 6, 6], "segmentation": POLYGON}
RLE = {"size": [10, 20], "counts": [0, 50, 150]}


def rules(*entries: Any) -> list[tuple[str, Any, int | None]]:
    return [
        (d.rule, d.image, d.segment)
        for d in check_instances_json(json.dumps({"annotations": entries}).encode(), "i.json", PANOPTIC)
    ]


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
    [[float("nan")] * 6],
    [1, 2],
    {"size": [20, 10], "counts": [200]},
    {"size": [10, 20], "counts": [199]},
    {"counts": [200]},
    {"size": [10, 20], "counts": [-1, 201]},
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
    assert [d.rule for d in check_instances_json(b"<html>", "i.json", PANOPTIC)] == ["json-invalid"]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=12))
def test_packed_run_lengths_are_those_of_pycocotools(counts: list[int]) -> None:
    counts = [*counts, max(0, 200 - sum(counts))]
    assert _unpacked_runs(packed(counts)) == counts
    if sum(counts) == 200:
        decoded = coco_mask.decode({"size": [10, 20], "counts": packed(counts).encode()})
        assert int(np.sum(decoded)) == sum(counts[1::2])
