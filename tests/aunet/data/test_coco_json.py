"""Reading a panoptic JSON strictly: what it holds, and each way it can be wrong."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from aunet.data.coco_json import read_image_info, read_panoptic_json
from aunet.errors import InputError
from aunet.segments import Segment

SOUND: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.jpg", "height": 4, "width": 6}],
    "annotations": [
        {
            "image_id": 7,
            "file_name": "a.png",
            "segments_info": [
                {"id": 11, "category_id": 1, "iscrowd": 1, "area": 5, "bbox": [0, 1, 2, 3]},
                {"id": 12, "category_id": 3},
            ],
        }
    ],
    "categories": [{"id": 1, "name": "cat", "isthing": 1}, {"id": 3, "name": "sky", "isthing": 0}],
}


def problems_of(document: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        read_panoptic_json(json.dumps(document).encode(), "p.json")
    assert all("p.json" in p for p in caught.value.problems)
    return str(caught.value)


def test_records_hold_what_the_file_says() -> None:
    annotations = read_panoptic_json(json.dumps(SOUND).encode(), "p.json")
    (record,) = annotations.images
    assert (record.image_id, record.file_name, record.panoptic_name) == (7, "a.jpg", "a.png")
    assert (record.height, record.width) == (4, 6)
    assert record.segments[0] == Segment(11, 1, True, 5, is_crowd=True, bbox=(0, 1, 2, 3))
    segment = record.segments[1]
    assert (segment.id, segment.category_id, segment.is_thing, segment.is_crowd) == (12, 3, False, False)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ("annotations", 0, "segments_info", 0, "category_id"),
            99,
            "of category 99, which is not in categories; correct it",
        ),
        (
            ("annotations", 0, "segments_info", 1, "id"),
            11,
            "segments_info[1]: segment 11 is there already; give every segment an id of its own",
        ),
        (("annotations", 0, "segments_info", 1, "id"), 256**3, "segment id 16777216; use an id in 1 …"),
        (("annotations", 0, "image_id"), 8, "image 7 (a.jpg) has no annotation; annotate the image or drop it"),
        (("annotations", 0), {"image_id": 7}, "annotations[0]: file_name, segments_info missing or wrong in"),
        (("images", 0), {"id": 7, "file_name": "a.jpg"}, "images[0]: height, width missing or wrong in"),
        (("categories", 0), {"id": 1, "name": "cat"}, "categories[0]: isthing is missing"),
        (("images",), None, "no list 'images'; fetch or write the file again"),
    ],
)
def test_every_defect_is_named(path: tuple[Any, ...], value: Any, message: str) -> None:
    document = copy.deepcopy(SOUND)
    entry: Any = document
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = value
    assert message in problems_of(document)


def test_all_problems_come_at_once() -> None:
    document = copy.deepcopy(SOUND)
    document["images"] *= 2
    document["annotations"][0]["segments_info"][0]["category_id"] = 99
    text = problems_of(document)
    assert "id 7 is already that of a.jpg; give every image an id of its own" in text and "of category 99" in text


def test_image_ids_that_are_names_are_refused_with_the_cure() -> None:
    document = copy.deepcopy(SOUND)
    document["images"][0]["id"] = document["annotations"][0]["image_id"] = "aachen"
    assert problems_of(document).startswith(
        "p.json: image id 'aachen' is not a number; number the images, or, for City"
    )


def test_what_is_not_json_is_named_so() -> None:
    with pytest.raises(InputError, match=r"p\.json: not JSON"):
        read_panoptic_json(b"<html>", "p.json")


@pytest.mark.parametrize("document", [{"images": []}, {}, {"images": {}}, []])
def test_a_list_without_images_is_named(document: Any) -> None:
    with pytest.raises(InputError) as caught:
        read_image_info(json.dumps(document).encode(), "info.json")
    assert len(caught.value.problems) == 1 and caught.value.problems[0].startswith("info.json: ")


def test_a_list_of_images_gives_their_ids() -> None:
    assert read_image_info(json.dumps(SOUND).encode(), "info.json") == {"a.jpg": 7}
