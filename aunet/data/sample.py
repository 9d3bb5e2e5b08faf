"""One annotated image: from encoded bytes to what the network trains on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torchvision.ops import masks_to_boxes

from aunet.categories import VOID, Categories, ThingLabels
from aunet.data.coco_panoptic import decode_image, decode_panoptic, measure_segments
from aunet.segments import Segment
from aunet.structures import Batch, PackedBatch, PackedTarget

SIZE_MULTIPLE = 32
"""Batches are padded to multiples of the coarsest stride of P2 … P5."""
PAD_COLOR = (124, 116, 104)
"""The mean colour of ImageNet, which normalises to zero."""
MIN_AREA = 4
"""Things with fewer visible pixels after augmentation are left out of training."""


@dataclass
class Instance:
    """A thing from an instances JSON, with its full mask, which others may cover."""

    category_id: int
    is_crowd: bool
    mask: NDArray[np.uint8]
    """uint8[H, W], 0 or 1."""


@dataclass
class Sample:
    """An image with its panoptic annotation."""

    image_id: int
    image: NDArray[np.uint8]
    """uint8[H, W, 3] RGB."""
    segment_map: NDArray[Any]
    """[H, W] of the smallest integer type: 0 is void, n is `segments[n - 1]`."""
    segments: Sequence[Segment]
    instances: Sequence[Instance] | None = None
    """Where given, boxes and masks of the things come from here, not from the map."""

    def true_ids(self) -> NDArray[np.int32]:
        """The ground truth as `evaluation` expects it: int32[H, W] of the ids of `true_segments`."""
        return self.segment_map.astype(np.int32)

    def true_segments(self) -> list[Segment]:
        """The segments, numbered as in `true_ids`."""
        return [replace(s, id=n) for n, s in enumerate(self.segments, start=1)]


def decode_sample(row: Mapping[str, Any], categories: Categories) -> Sample:
    """Decode one row of a shard (see `pipelines.data.shards` for the columns)."""
    ids = decode_panoptic(row["panoptic"])
    segments = [
        Segment(s["id"], s["category_id"], categories.by_id[s["category_id"]].is_thing, s["area"], None, s["is_crowd"])
        for s in row["segments"]
    ]
    return Sample(
        image_id=row["image_id"],
        image=decode_image(row["image"]),
        segment_map=_positions(ids, [s.id for s in segments]),
        segments=segments,
        instances=_instances(row),
    )


def pack_target(sample: Sample, categories: Categories, thing_labels: ThingLabels) -> PackedTarget:
    """Boxes and labels of the things that are not crowds, and the semantic label of every segment."""
    semantic = categories.semantic_labels(thing_labels)
    if sample.instances is None:
        visible = {n: box for n, (area, box) in measure_segments(sample.segment_map).items() if area >= MIN_AREA}
        numbered = enumerate(sample.segments, start=1)
        things = [(n, s) for n, s in numbered if s.is_thing and not s.is_crowd and n in visible]
        numbers, category_ids = [n for n, _ in things], [s.category_id for _, s in things]
        boxes, masks = np.array([visible[n] for n in numbers], np.float32).reshape(-1, 4), None
        boxes[:, 2:] += boxes[:, :2]
    else:
        kept = [i for i in sample.instances if not i.is_crowd and np.count_nonzero(i.mask) >= MIN_AREA]
        numbers, category_ids = [], [i.category_id for i in kept]
        masks = torch.from_numpy(
            np.stack([i.mask for i in kept]) if kept else np.zeros((0, *sample.segment_map.shape), np.uint8)
        )
        boxes = masks_to_boxes(masks).float().numpy()
        boxes[:, 2:] += 1
    return PackedTarget(
        image_id=sample.image_id,
        boxes=boxes,
        labels=np.array([categories.detector_labels[c] for c in category_ids], np.int64),
        numbers=np.array(numbers, np.int64),
        semantic=np.array([VOID] + [semantic[s.category_id] for s in sample.segments], np.int64),
        masks=masks,
    )


def pack(samples: Sequence[Sample], targets: Sequence[PackedTarget]) -> PackedBatch:
    """One batch of samples with their targets."""
    batch = collate([sample.image for sample in samples])
    maps = [sample.segment_map for sample in samples]
    padded = np.empty((len(maps), *batch.images.shape[2:]), np.result_type(*maps))
    for canvas, segment_map in zip(padded, maps, strict=True):
        write_padded(canvas, segment_map, 0)
    return PackedBatch(batch.images, batch.image_sizes, torch.from_numpy(padded), list(targets))


def collate(images: Sequence[NDArray[np.uint8]]) -> Batch:
    """Pad images `uint8[H, W, 3]` at the right and bottom to one size, a multiple of 32, into a batch without targets.

    Its images have the memory layout of the given ones, `channels_last`.
    """
    sizes = [(image.shape[0], image.shape[1]) for image in images]
    height, width = (max(side) for side in zip(*map(padded_size, sizes), strict=True))
    padded = np.empty((len(images), height, width, 3), np.uint8)
    for canvas, image in zip(padded, images, strict=True):
        write_padded(canvas, image, PAD_COLOR)
    return Batch(torch.from_numpy(padded).permute(0, 3, 1, 2), sizes, [])


def padded_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the batch that an image of (height, width) alone makes: the next multiples of 32."""
    height, width = (-(-side // SIZE_MULTIPLE) * SIZE_MULTIPLE for side in size)
    return height, width


def write_padded(canvas: NDArray[Any], content: NDArray[Any], fill: Any) -> None:
    """Write `content` into the upper left corner of `canvas` and `fill` into the rest."""
    height, width = content.shape[:2]
    canvas[:height, :width] = content
    canvas[:height, width:] = fill
    canvas[height:] = fill


def number_type(count: int) -> type[np.integer[Any]]:
    """The smallest type of a segment map with the numbers 0 … `count`."""
    return np.uint8 if count < 2**8 else np.int16 if count < 2**15 else np.int32


def _positions(ids: NDArray[np.int32], segment_ids: Sequence[int]) -> NDArray[Any]:
    """Replace each id by its position in `segment_ids` counted from 1, unknown ids by 0, in the smallest integer type.

    Works on runs of equal ids, which are some hundred times fewer than pixels.
    """
    count = len(segment_ids)
    kind = number_type(count)
    if not count:
        return np.zeros(ids.shape, kind)
    flat = ids.reshape(-1)
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    order = np.argsort(np.asarray(segment_ids, np.int64), kind="stable")
    known, runs = np.asarray(segment_ids, np.int32)[order], flat[starts]
    nearest = np.searchsorted(known, runs).clip(max=count - 1)
    positions = np.where(known[nearest] == runs, order[nearest] + 1, 0).astype(kind)
    return np.repeat(positions, np.diff(starts, append=flat.size)).reshape(ids.shape)


def _instances(row: Mapping[str, Any]) -> list[Instance] | None:
    if row.get("instances") is None:
        return None
    instances = []
    for entry in row["instances"]:
        rle: Any = {"size": [row["height"], row["width"]], "counts": entry["rle"].encode()}
        instances.append(Instance(entry["category_id"], entry["is_crowd"], coco_mask.decode(rle)))
    return instances
