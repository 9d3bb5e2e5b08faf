"""From a row to a target, by hand."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from aunet.data.coco_panoptic import encode_panoptic
from aunet.data.sample import collate, decode_sample, to_target
from tests.tiny import CATEGORIES


def row(ids: np.ndarray, segments: list[tuple[int, int, bool]], instances: list | None = None) -> dict:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((*ids.shape, 3), np.uint8)).save(buffer, "PNG")
    return {
        "image_id": 7, "height": ids.shape[0], "width": ids.shape[1],
        "image": buffer.getvalue(), "panoptic": encode_panoptic(ids), "instances": instances,
        "segments": [
            {"id": i, "category_id": c, "is_crowd": crowd, "area": int((ids == i).sum())} for i, c, crowd in segments
        ],
    }  # fmt: skip


def scene() -> np.ndarray:
    ids = np.full((8, 12), 70000, np.int32)
    ids[0] = 0
    ids[2:6, 1:5] = 900
    ids[4:7, 8:11] = 12
    return ids


SEGMENTS = [(70000, 12, False), (900, 3, False), (12, 9, True)]


def test_things_stuff_crowd_and_void() -> None:
    sample = decode_sample(row(scene(), SEGMENTS), CATEGORIES)
    target = to_target(sample, CATEGORIES, "one")
    assert target["boxes"].tolist() == [[1, 2, 5, 6]]
    assert target["labels"].tolist() == [1]
    assert target["masks"].sum() == 16
    assert target["semantic"][0].unique().tolist() == [-1]
    assert target["semantic"][3, 3] == 0 and target["semantic"][5, 9] == 0 and target["semantic"][7, 0] == 2


def test_each_thing_has_its_own_semantic_label() -> None:
    target = to_target(decode_sample(row(scene(), SEGMENTS), CATEGORIES), CATEGORIES, "each")
    assert (target["semantic"][3, 3], target["semantic"][5, 9], target["semantic"][7, 0]) == (0, 1, 3)


def test_an_image_without_things() -> None:
    target = to_target(decode_sample(row(np.full((4, 4), 5, np.int32), [(5, 5, False)]), CATEGORIES), CATEGORIES, "one")
    assert target["boxes"].shape == (0, 4) and target["masks"].shape == (0, 4, 4) and target["labels"].shape == (0,)
    assert target["semantic"].unique().tolist() == [1]


def test_instances_may_overlap() -> None:
    from pycocotools import mask as coco_mask

    def rle(mask: np.ndarray) -> str:
        return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()

    first, second = np.zeros((8, 12)), np.zeros((8, 12))
    first[2:6, 1:5], second[3:8, 2:9] = 1, 1
    instances = [
        {"category_id": 3, "is_crowd": False, "rle": rle(first)},
        {"category_id": 9, "is_crowd": False, "rle": rle(second)},
        {"category_id": 9, "is_crowd": True, "rle": rle(first)},
    ]
    target = to_target(decode_sample(row(scene(), SEGMENTS, instances), CATEGORIES), CATEGORIES, "one")
    assert target["boxes"].tolist() == [[1, 2, 5, 6], [2, 3, 9, 8]]
    assert (target["masks"].sum(0) == 2).sum() == 9


def test_collate_pads_to_multiples_of_32() -> None:
    batch = collate([np.ones((20, 40, 3), np.uint8), np.ones((33, 10, 3), np.uint8)])
    assert batch.images.shape == (2, 3, 64, 64)
    assert batch.image_sizes == [(20, 40), (33, 10)]
    assert torch.equal(batch.images[0, :, 20, 40], torch.tensor([124, 116, 104], dtype=torch.uint8))
