"""JSON files of every kind of disorder become records and defects, never an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from aunet.data.coco_entries import whole_number
from aunet.data.coco_json import PanopticAnnotations, read_panoptic_json
from aunet.data.defects import errors_of
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


@pytest.mark.parametrize(
    "name", ["", 7, None, "/etc/x.jpg", "../x.jpg", "a/../../x", "a\x00b", "a\nb", "\x1b[31m", "x" * 300]
)
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


@pytest.mark.parametrize("value", ["0", "1", "yes", [], {}, 2, 0.5])
def test_flags_as_text_are_refused(value: Any) -> None:
    """Read as true or as false, they would change the score without a word."""
    crowd = [{**ANNOTATION, "segments_info": [{**SEGMENT, "iscrowd": value}]}]
    assert rules(read(annotations=crowd)) == [("crowd-value", 3, 9)]
    assert rules(read(categories=[{**CATEGORIES[0], "isthing": value}, CATEGORIES[1]])) == [
        ("isthing-missing", None, None)
    ]


@pytest.mark.parametrize(("value", "flag"), [(True, True), (False, False), (1, True), (0, False), (1.0, True)])
def test_flags_may_be_true_and_false(value: Any, flag: bool) -> None:
    annotations = read(
        annotations=[{**ANNOTATION, "segments_info": [{**SEGMENT, "iscrowd": value}]}],
        categories=[{**CATEGORIES[0], "isthing": 1}, {**CATEGORIES[1], "isthing": value}],
    )
    assert rules(annotations) == []
    assert annotations.records[3].segments[0].is_crowd is flag and annotations.categories_by_id[5].is_thing is flag


@pytest.mark.parametrize("image_id", [0, 2**63 - 1, "3", " 3", "3\n", 3.0])
def test_ids_that_are_whole_numbers(image_id: Any) -> None:
    annotations = read(images=[{**IMAGE, "id": image_id}], annotations=[{**ANNOTATION, "image_id": image_id}])
    assert rules(annotations) == [] and list(annotations.records) == [int(image_id)]


@pytest.mark.parametrize("bad", [-1, 2**63, 10**400, 1e300, 1.5, True, None, "", " ", "a\nb", [3], {"a": 3}])
def test_ids_that_are_refused_everywhere(bad: Any) -> None:
    image = read(images=[{**IMAGE, "id": bad}])
    assert [rule for rule, _, _ in rules(image)] == ["entry-malformed", "annotation-orphan"] and not image.records
    annotation = read(annotations=[{**ANNOTATION, "image_id": bad}])
    assert [rule for rule, _, _ in rules(annotation)] == ["entry-malformed", "image-unannotated"]
    category = read(categories=[{**CATEGORIES[0], "id": bad}, CATEGORIES[1]])
    assert [rule for rule, _, _ in rules(category)] == ["category-malformed", "category-unknown"]
    assert all(len(d.message) < 400 for read in (image, annotation, category) for d in read.defects)


def test_category_0_is_one() -> None:
    annotations = read(
        categories=[{**CATEGORIES[0], "id": 0}, CATEGORIES[1]],
        annotations=[{**ANNOTATION, "segments_info": [{**SEGMENT, "category_id": 0}]}],
    )
    assert rules(annotations) == [] and annotations.records[3].segments[0].is_thing


@pytest.mark.parametrize(
    ("color", "expected"),
    [("#2080c0", (32, 128, 192)), ("2080C0", (32, 128, 192)), ([1, 2, 3], (1, 2, 3)), ([1, 2, 3, 255], (1, 2, 3))],
)
def test_colours_that_are_read(color: Any, expected: tuple[int, int, int]) -> None:
    annotations = read(categories=[{**CATEGORIES[0], "color": color}, CATEGORIES[1]])
    assert rules(annotations) == [] and annotations.categories_by_id[1].color == expected


@pytest.mark.parametrize("color", ["#28c", "red", [1, 2], [1, 2, 3, 4, 5], [-1, 0, 0], [0, 0, 256], [None] * 3, 7, {}])
def test_colours_that_are_ignored_with_a_warning(color: Any) -> None:
    annotations = read(categories=[{**CATEGORIES[0], "color": color}, CATEGORIES[1]])
    assert rules(annotations) == [("category-color", None, None)] and annotations.categories_by_id[1].color is None
    assert not errors_of(annotations.defects)


def test_names_that_look_the_same_are_given_twice() -> None:
    names = ["b\u00e9b\u00e9", "be\u0301be\u0301"]
    (defect,) = read(categories=[{**own, "name": n} for own, n in zip(CATEGORIES, names, strict=True)]).defects
    assert defect.rule == "category-name-repeated" and "Unicode normalisation, NFC or NFD" in defect.message


def test_a_list_of_many_categories_is_read_at_once() -> None:
    entries = [{"id": n, "name": f"c{n}", "isthing": 0} for n in range(100_000)]
    assert len(read(categories=entries, annotations=[{**ANNOTATION, "segments_info": []}]).categories) == 100_000


def test_an_instances_json_is_called_one() -> None:
    instance = {"id": 1, "image_id": 3, "category_id": 1, "bbox": [0, 0, 1, 1], "segmentation": []}
    (defect,) = read(annotations=[instance]).defects
    assert defect.message == "p.json: this is the instances JSON of a data set; give its panoptic JSON here"


@pytest.mark.parametrize(("name", "form"), [("/data/train/a.jpg", "a.jpg"), ("../val/b.png", "b.png")])
def test_the_cure_of_a_path_names_a_relative_one(name: str, form: str) -> None:
    (defect,) = read(images=[{**IMAGE, "file_name": name}]).defects
    assert f"leaves its folder; write it relative to its folder, such as {form}" in defect.message


def test_no_message_commands_a_terminal() -> None:
    evil = "\x1b]0;x\x07\u202e\x9b31m"
    annotations = read(
        images=[{**IMAGE, "file_name": evil}, {"id": evil}],
        categories=[*CATEGORIES, {"id": 7, "name": evil, "isthing": 0}, {"id": 8, "name": "x", "isthing": evil}],
        annotations=[{**ANNOTATION, "file_name": evil, "segments_info": [{**SEGMENT, "iscrowd": evil}]}],
    )
    assert len(annotations.defects) > 4 and all(d.message.isprintable() for d in annotations.defects)


@pytest.mark.parametrize(
    "text", [b'{"images": [{"id": NaN}]}', b'{"images": ["\\ud800"]}', b"[" * 100_000, b"1" * 5000]
)
def test_json_that_nothing_else_reads_is_one_defect(text: bytes) -> None:
    annotations = read_panoptic_json(text, "p.json", strict=False)
    assert rules(annotations) == [("json-invalid", None, None)]


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
