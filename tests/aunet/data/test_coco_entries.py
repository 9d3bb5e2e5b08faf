"""JSON files of every kind of disorder become records and defects, never an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from aunet.data.coco_entries import whole_number
from aunet.data.coco_json import PanopticAnnotations, read_panoptic_json
from aunet.segments import NOT_GIVEN

CATEGORIES = [{"id": 1, "name": "car", "isthing": 1}, {"id": 5, "name": "road", "isthing": 0}]
IMAGE = {"id": 3, "file_name": "a.jpg", "height": 4, "width": 5}
SEGMENT = {"id": 9, "category_id": 1, "iscrowd": 0, "area": 2, "bbox": [0, 1, 2, 1]}
ANNOTATION = {"image_id": 3, "file_name": "a.png", "segments_info": [SEGMENT]}


def read(**changes: Any) -> PanopticAnnotations:
    document = {"images": [IMAGE], "annotations": [ANNOTATION], "categories": CATEGORIES, **changes}
    return read_panoptic_json(json.dumps(document).encode(), "p.json", strict=False)


def rules(annotations: PanopticAnnotations) -> list[tuple[str, Any, int | None]]:
    return [(d.rule, d.image, d.segment) for d in annotations.defects]


def test_a_sound_file() -> None:
    annotations = read()
    (record,) = annotations.records.values()
    assert rules(annotations) == [] and annotations.num_images == 1
    assert (record.image_id, record.panoptic_name, record.segments[0].bbox) == (3, "a.png", (0, 1, 2, 1))
    assert [(c.id, c.is_thing) for c in annotations.categories_by_id.values()] == [(1, True), (5, False)]


def test_ids_that_are_texts_are_read_but_reported() -> None:
    """As the official Cityscapes conversion writes them."""
    annotations = read(images=[{**IMAGE, "id": "aachen_0"}], annotations=[{**ANNOTATION, "image_id": "aachen_0"}])
    assert rules(annotations) == [("entry-malformed", "aachen_0", None)]
    assert annotations.records["aachen_0"].segments[0].id == 9
    assert rules(read(images=[{**IMAGE, "id": "3"}])) == []


@pytest.mark.parametrize("name", ["", 7, None, "/etc/x.jpg", "../x.jpg", "a/../../x", "a\x00b", "\ud800"])
def test_names_that_lead_elsewhere(name: Any) -> None:
    annotations = read(images=[{**IMAGE, "file_name": name}])
    assert rules(annotations) == [("entry-malformed", 3, None)] and annotations.records[3].file_name == ""


def test_numbers_that_are_none() -> None:
    unmeasured = {**SEGMENT, "area": "big", "bbox": [0, 1, 2.5, 1]}
    annotations = read(annotations=[{**ANNOTATION, "segments_info": [unmeasured]}])
    assert rules(annotations) == [("measures-missing", 3, None)]
    (segment,) = annotations.records[3].segments
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
        result = read(**changes)
        json.dumps([d.to_json() for d in result.defects])
        assert len(result.records) <= result.num_images
