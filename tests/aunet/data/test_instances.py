"""Masks of instances, in each of their forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from aunet.data.coco_json import ImageRecord
from aunet.data.instances import read_instances

IMAGE = ImageRecord(image_id=7, file_name="a.jpg", height=4, width=6, panoptic_name="a.png", segments=())


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
