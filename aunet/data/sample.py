"""One annotated image: from encoded bytes to what the network trains on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import masks_to_boxes

from aunet.categories import VOID, Categories, ThingLabels
from aunet.data.coco_panoptic import decode_image, decode_panoptic
from aunet.structures import Batch, Segment, Target

SIZE_MULTIPLE = 32
"""Batches are padded to multiples of the coarsest stride of P2 … P5."""
PAD_COLOR = (124, 116, 104)
"""The mean colour of ImageNet, which normalises to zero."""
MIN_AREA = 4
"""Things with fewer visible pixels after augmentation are not trained on."""


@dataclass
class Instance:
    """A thing from an instances JSON, with its whole mask, which may lie under others."""

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
    segment_map: NDArray[np.int32]
    """int32[H, W]: 0 is void, n is `segments[n - 1]`."""
    segments: Sequence[Segment]
    instances: Sequence[Instance] | None = None
    """Where given, boxes and masks of the things come from here rather than from the map."""

    def true_ids(self) -> NDArray[np.int32]:
        """The ground truth as `evaluation` takes it: int32[H, W] of the ids of `true_segments`."""
        return self.segment_map

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


def to_target(sample: Sample, categories: Categories, thing_labels: ThingLabels) -> Target:
    """Boxes, masks and labels of the things that are not crowds, and the semantic map of everything."""
    semantic = categories.semantic_labels(thing_labels)
    labels = torch.tensor([VOID] + [semantic[s.category_id] for s in sample.segments])
    segment_map = torch.from_numpy(sample.segment_map)
    if sample.instances is None:
        things = [(n, s) for n, s in enumerate(sample.segments, start=1) if s.is_thing and not s.is_crowd]
        category_ids = [s.category_id for _, s in things]
        masks = segment_map == torch.tensor([n for n, _ in things], dtype=torch.int32).view(-1, 1, 1)
    else:
        instances = [i for i in sample.instances if not i.is_crowd]
        category_ids = [i.category_id for i in instances]
        masks = torch.from_numpy(
            np.stack([i.mask for i in instances]) if instances else np.zeros((0, *sample.segment_map.shape), np.uint8)
        ).bool()
    visible = masks.flatten(1).sum(1) >= MIN_AREA
    masks = masks[visible]
    boxes = masks_to_boxes(masks)
    boxes[:, 2:] += 1
    return Target(
        image_id=sample.image_id,
        boxes=boxes.float(),
        labels=torch.tensor([categories.detector_labels[c] for c in category_ids], dtype=torch.int64)[visible],
        masks=masks.to(torch.uint8),
        semantic=labels[segment_map.long()],
    )


def collate(images: Sequence[NDArray[np.uint8]], targets: Sequence[Target] = ()) -> Batch:
    """Pad images `uint8[H, W, 3]` at the right and bottom to one size, a multiple of 32, into one batch."""
    sizes = [(image.shape[0], image.shape[1]) for image in images]
    height, width = (-(-max(side) // SIZE_MULTIPLE) * SIZE_MULTIPLE for side in zip(*sizes, strict=True))
    padded = torch.tensor(PAD_COLOR, dtype=torch.uint8).view(3, 1, 1).repeat(len(images), 1, height, width)
    for n, image in enumerate(images):
        padded[n, :, : image.shape[0], : image.shape[1]] = torch.from_numpy(image).permute(2, 0, 1)
    return Batch(padded, sizes, list(targets))


def _positions(ids: NDArray[np.int32], segment_ids: Sequence[int]) -> NDArray[np.int32]:
    """Replace each id by its position in `segment_ids` counted from 1, unknown ids by 0."""
    order = np.argsort(np.asarray(segment_ids, dtype=np.int64), kind="stable")
    known = np.asarray(segment_ids, dtype=np.int32)[order]
    if not len(known):
        return np.zeros(ids.shape, np.int32)
    place = np.searchsorted(known, ids).clip(max=len(known) - 1)
    return np.where(known[place] == ids, order[place] + 1, 0).astype(np.int32)


def _instances(row: Mapping[str, Any]) -> list[Instance] | None:
    if row.get("instances") is None:
        return None
    from pycocotools import mask as coco_mask

    size = [row["height"], row["width"]]
    return [
        Instance(i["category_id"], i["is_crowd"], coco_mask.decode({"size": size, "counts": i["rle"].encode()}))  # type: ignore[typeddict-item]
        for i in row["instances"]
    ]
