"""Reading the JSON files: what they hold, and each way they can be wrong."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from aunet.categories import Categories
from aunet.data.coco_json import ImageRecord, SegmentRecord, read_instances, read_panoptic_json
from aunet.errors import InputError

WHOLE: dict[str, Any] = {
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


def problems_of(whole: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        read_panoptic_json(json.dumps(whole).encode(), "p.json")
    assert all("p.json" in p for p in caught.value.problems)
    return str(caught.value)


def test_records_hold_what_the_file_says() -> None:
    annotations = read_panoptic_json(json.dumps(WHOLE).encode(), "p.json")
    (record,) = annotations.images
    assert (record.image_id, record.file_name, record.panoptic_name) == (7, "a.jpg", "a.png")
    assert (record.height, record.width) == (4, 6)
    assert record.segments[0] == SegmentRecord(id=11, category_id=1, is_crowd=True, area=5, bbox=(0, 1, 2, 3))
    segment = record.segments[1].to_segment(annotations.categories)
    assert (segment.id, segment.category_id, segment.is_thing, segment.is_crowd) == (12, 3, False, False)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("annotations", 0, "segments_info", 0, "category_id"), 99, "category_id 99, which is not in categories"),
        (("annotations", 0, "segments_info", 1, "id"), 11, "segment id 11 is given twice"),
        (("annotations", 0, "segments_info", 1, "id"), 256**3, "take 1 …"),
        (("annotations", 0, "image_id"), 8, "has no annotation"),
        (("annotations", 0), {"image_id": 7}, "lacks file_name, segments_info"),
        (("images", 0), {"id": 7, "file_name": "a.jpg"}, "lacks height, width"),
        (("categories", 0), {"id": 1, "name": "cat"}, "lacks isthing"),
        (("images",), None, "'images' is missing"),
    ],
)
def test_every_defect_is_named(path: tuple[Any, ...], value: Any, message: str) -> None:
    whole = copy.deepcopy(WHOLE)
    place: Any = whole
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert message in problems_of(whole)


def test_all_problems_come_at_once() -> None:
    whole = copy.deepcopy(WHOLE)
    whole["images"] *= 2
    whole["annotations"][0]["segments_info"][0]["category_id"] = 99
    text = problems_of(whole)
    assert "image id 7 is given twice" in text and "category_id 99" in text


def test_what_is_not_json_is_named_so() -> None:
    with pytest.raises(InputError, match=r"p\.json: not JSON"):
        read_panoptic_json(b"<html>", "p.json")


IMAGE = ImageRecord(image_id=7, file_name="a.jpg", height=4, width=6, panoptic_name="a.png", segments=())
CATEGORIES = Categories.from_json(WHOLE["categories"])


@pytest.mark.parametrize("kind", ["polygon", "uncompressed", "compressed"])
def test_every_form_of_mask_becomes_the_same_rle(kind: str) -> None:
    expected = np.zeros((4, 6), dtype=np.uint8)
    expected[1:3, 2:5] = 1
    segmentation: Any = {
        "polygon": [[2, 1, 5, 1, 5, 3, 2, 3]],
        "uncompressed": {"size": [4, 6], "counts": [9, 2, 2, 2, 2, 2, 5]},
        "compressed": coco_mask.encode(np.asfortranarray(expected)),
    }[kind]
    if kind == "compressed":
        segmentation["counts"] = segmentation["counts"].decode()
    entry = {"image_id": 7, "category_id": 1, "bbox": [2, 1, 3, 2], "segmentation": segmentation, "iscrowd": 0}
    (instance,) = read_instances([entry], IMAGE)
    assert (instance.category_id, instance.is_crowd, instance.bbox) == (1, False, (2.0, 1.0, 3.0, 2.0))
    rle: Any = {"size": [4, 6], "counts": instance.rle.encode()}
    assert np.array_equal(coco_mask.decode(rle), expected)
