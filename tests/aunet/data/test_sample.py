"""From a row to a target, by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from aunet.categories import VOID, Categories, Category, ThingLabels
from aunet.data.coco_panoptic import encode_panoptic
from aunet.data.sample import MIN_AREA, Sample, collate, decode_sample, pack, pack_target
from aunet.structures import Segment, Target
from tests.tiny import CATEGORIES, run_lengths


def row(ids: np.ndarray, segments: list[tuple[int, int, bool]], instances: list | None = None) -> dict:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((*ids.shape, 3), np.uint8)).save(buffer, "PNG")
    return {
        "image_id": 7,
        "height": ids.shape[0],
        "width": ids.shape[1],
        "image": buffer.getvalue(),
        "panoptic": encode_panoptic(ids),
        "instances": instances,
        "segments": [
            {"id": i, "category_id": c, "is_crowd": crowd, "area": int((ids == i).sum())} for i, c, crowd in segments
        ],
    }


def to_target(sample: Sample, thing_labels: ThingLabels) -> Target:
    """Through a batch of one."""
    return pack([sample], [pack_target(sample, CATEGORIES, thing_labels)]).to("cpu").targets[0]


def scene() -> np.ndarray:
    ids = np.full((8, 12), 70000, np.int32)
    ids[0] = 0
    ids[2:6, 1:5] = 900
    ids[4:7, 8:11] = 12
    return ids


SEGMENTS = [(70000, 12, False), (900, 3, False), (12, 9, True)]


def test_things_stuff_crowd_and_void() -> None:
    sample = decode_sample(row(scene(), SEGMENTS), CATEGORIES)
    target = to_target(sample, "one")
    assert target["boxes"].tolist() == [[1, 2, 5, 6]]
    assert target["labels"].tolist() == [1]
    assert target["masks"].sum() == 16
    assert target["semantic"][0].unique().tolist() == [-1]
    assert target["semantic"][3, 3] == 0 and target["semantic"][5, 9] == 0 and target["semantic"][7, 0] == 2


def test_each_thing_has_its_own_semantic_label() -> None:
    target = to_target(decode_sample(row(scene(), SEGMENTS), CATEGORIES), "each")
    assert (target["semantic"][3, 3], target["semantic"][5, 9], target["semantic"][7, 0]) == (0, 1, 3)


def test_an_image_without_things() -> None:
    target = to_target(decode_sample(row(np.full((4, 4), 5, np.int32), [(5, 5, False)]), CATEGORIES), "one")
    assert target["boxes"].shape == (0, 4) and target["masks"].shape == (0, 4, 4) and target["labels"].shape == (0,)
    assert target["semantic"].unique().tolist() == [1]


def test_instances_may_overlap() -> None:
    first, second = np.zeros((8, 12)), np.zeros((8, 12))
    first[2:6, 1:5], second[3:8, 2:9] = 1, 1
    instances = [
        {"category_id": 3, "is_crowd": False, "rle": run_lengths(first)},
        {"category_id": 9, "is_crowd": False, "rle": run_lengths(second)},
        {"category_id": 9, "is_crowd": True, "rle": run_lengths(first)},
    ]
    target = to_target(decode_sample(row(scene(), SEGMENTS, instances), CATEGORIES), "one")
    assert target["boxes"].tolist() == [[1, 2, 5, 6], [2, 3, 9, 8]]
    assert (target["masks"].sum(0) == 2).sum() == 9


def test_collate_pads_to_multiples_of_32() -> None:
    batch = collate([np.ones((20, 40, 3), np.uint8), np.ones((33, 10, 3), np.uint8)])
    assert batch.images.shape == (2, 3, 64, 64)
    assert batch.image_sizes == [(20, 40), (33, 10)]
    assert torch.equal(batch.images[0, :, 20, 40], torch.tensor([124, 116, 104], dtype=torch.uint8))
    assert batch.targets == []


def test_packed_maps_are_padded_with_void_and_cut_again() -> None:
    small, large = (decode_sample(row(scene()[:h, :w], SEGMENTS), CATEGORIES) for h, w in ((6, 6), (8, 12)))
    packed = pack([small, large], [pack_target(s, CATEGORIES, "one") for s in (small, large)])
    assert packed.segment_maps.shape == (2, 32, 32) and packed.segment_maps.dtype == torch.uint8
    assert packed.segment_maps[0, 6:].sum() == packed.segment_maps[1, :, 12:].sum() == 0
    assert [tuple(t["masks"].shape) for t in packed.to("cpu").targets] == [(1, 6, 6), (1, 8, 12)]


@pytest.mark.parametrize("num_segments", [3, 255, 256, 700])
def test_many_segments_fit(num_segments: int) -> None:
    """Ids that the JSON does not name are void; the map takes two bytes where one is too small."""
    rng = np.random.default_rng(num_segments)
    ids = rng.choice(2**24 - 1, num_segments, replace=False).astype(np.int32) + 1
    pixels = rng.choice(np.append(ids, [0, 7]), (40, 50)).astype(np.int32)
    segment_map = decode_sample(row(pixels, [(int(i), 12, False) for i in ids]), CATEGORIES).segment_map
    assert segment_map.dtype == (np.uint8 if num_segments < 256 else np.int16)
    expected = {int(i): n for n, i in enumerate(ids, start=1)}
    assert segment_map.tolist() == [[expected.get(i, 0) for i in line] for line in pixels.tolist()]


def test_without_segments_all_is_void() -> None:
    target = to_target(decode_sample(row(scene(), []), CATEGORIES), "one")
    assert target["semantic"].unique().tolist() == [VOID] and len(target["boxes"]) == 0


def naive_target(sample: Sample, categories: Categories) -> Target:
    """The readable twin: pixel by segment."""
    labels = categories.semantic_labels("one")
    semantic = torch.full(sample.segment_map.shape, VOID)
    boxes, classes, masks = [], [], []
    for number, segment in enumerate(sample.segments, start=1):
        mask = torch.from_numpy(sample.segment_map == number)
        semantic[mask] = labels[segment.category_id]
        y, x = mask.nonzero(as_tuple=True)
        if segment.is_thing and not segment.is_crowd and len(y) >= MIN_AREA:
            boxes.append([int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1])
            classes.append(categories.detector_labels[segment.category_id])
            masks.append(mask.to(torch.uint8))
    stacked = torch.stack(masks) if masks else torch.zeros(0, *sample.segment_map.shape, dtype=torch.uint8)
    return Target(
        image_id=sample.image_id,
        boxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        labels=torch.tensor(classes, dtype=torch.int64),
        masks=stacked,
        semantic=semantic,
    )


@pytest.mark.parametrize("seed", range(5))
def test_targets_equal_their_readable_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    categories = Categories(tuple(Category(id=n, name=str(n), is_thing=n < 5) for n in range(1, 9)))
    segments = [
        Segment(n, int(c), bool(c < 5), 1, None, bool(rng.random() < 0.2)) for n, c in enumerate(rng.integers(1, 9, 12))
    ]
    segment_map = np.kron(rng.integers(0, 13, (6, 9)), np.ones((5, 4))).astype(np.uint8)
    segment_map[:3, :3] = rng.integers(0, 13, (3, 3))
    sample = Sample(3, np.zeros((30, 36, 3), np.uint8), segment_map, segments)
    target = pack([sample], [pack_target(sample, categories, "one")]).to("cpu").targets[0]
    expected = naive_target(sample, categories)
    for key in ("boxes", "labels", "masks", "semantic"):
        assert target[key].dtype == expected[key].dtype and torch.equal(target[key], expected[key]), key
