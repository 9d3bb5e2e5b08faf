"""JSON files of every kind of disorder become records and defects, never an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from pipelines.lint.json import NOT_GIVEN, LenientAnnotations, read_leniently, whole_number

CATEGORIES = [{"id": 1, "name": "car", "isthing": 1}, {"id": 5, "name": "road", "isthing": 0}]
IMAGE = {"id": 3, "file_name": "a.jpg", "height": 4, "width": 5}
SEGMENT = {"id": 9, "category_id": 1, "iscrowd": 0, "area": 2, "bbox": [0, 1, 2, 1]}
ANNOTATION = {"image_id": 3, "file_name": "a.png", "segments_info": [SEGMENT]}


def read(**changes: Any) -> LenientAnnotations:
    whole = {"images": [IMAGE], "annotations": [ANNOTATION], "categories": CATEGORIES, **changes}
    return read_leniently(json.dumps(whole).encode(), "p.json")


def rules(found: LenientAnnotations) -> list[tuple[str, Any, int | None]]:
    return [(d.rule, d.image, d.segment) for d in found.defects]


def test_a_whole_file() -> None:
    found = read()
    (record,) = found.records.values()
    assert rules(found) == [] and found.num_images == 1
    assert (record.image_id, record.panoptic_name, record.segments[0].bbox) == (3, "a.png", (0, 1, 2, 1))
    assert [(c.id, c.is_thing) for c in found.categories.values()] == [(1, True), (5, False)]


def test_ids_that_are_texts_are_read_but_told() -> None:
    """As the official Cityscapes conversion writes them."""
    found = read(images=[{**IMAGE, "id": "aachen_0"}], annotations=[{**ANNOTATION, "image_id": "aachen_0"}])
    assert rules(found) == [("entry-malformed", "aachen_0", None)]
    assert found.records["aachen_0"].segments[0].id == 9
    assert rules(read(images=[{**IMAGE, "id": "3"}])) == []


@pytest.mark.parametrize("name", ["", 7, None, "/etc/x.jpg", "../x.jpg", "a/../../x", "a\x00b", "\ud800"])
def test_names_that_lead_elsewhere(name: Any) -> None:
    found = read(images=[{**IMAGE, "file_name": name}])
    assert rules(found) == [("entry-malformed", 3, None)] and found.records[3].file_name == ""


def test_numbers_that_are_none() -> None:
    found = read(annotations=[{**ANNOTATION, "segments_info": [{**SEGMENT, "area": "big", "bbox": [0, 1, 2.5, 1]}]}])
    assert rules(found) == [("measures-missing", 3, None)]
    (segment,) = found.records[3].segments
    assert segment.area == NOT_GIVEN and set(segment.bbox) == {NOT_GIVEN}
    given = (3, 3.0, "3", "03", True, None, 3.5, "x", float("inf"), float("nan"), [3], "³")
    assert [whole_number(v) for v in given] == [3, 3, 3, 3, *[None] * 8]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list({**IMAGE, **SEGMENT})), inner),
    max_leaves=8,
)


@settings(max_examples=50)
@given(images=JSON, annotations=JSON, categories=JSON, image=JSON, segment=JSON, annotation=JSON)
def test_anything_is_read(
    images: Any, annotations: Any, categories: Any, image: Any, segment: Any, annotation: Any
) -> None:
    for changes in (
        {"images": images, "annotations": annotations, "categories": categories},
        {"images": [IMAGE, image], "annotations": [ANNOTATION, annotation], "categories": [*CATEGORIES, image]},
        {
            "annotations": [
                {
                    **ANNOTATION,
                    "segments_info": [SEGMENT, segment, {"id": segment}, {**SEGMENT, "id": 4, "area": image}],
                }
            ]
        },
    ):
        found = read(**changes)
        json.dumps([d.to_json() for d in found.defects])
        assert len(found.records) <= found.num_images
