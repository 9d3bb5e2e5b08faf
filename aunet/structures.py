"""What flows between the modules: targets into the network, predictions out of it, panoptic maps at the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypedDict

import torch
from numpy.typing import NDArray
from torch import Tensor

from aunet.image_sized import InstanceMasks, SemanticLogits, Window
from aunet.segments import Segment


class Target(TypedDict):
    """The ground truth of one image, as torchvision's detectors expect it, and its semantic map."""

    image_id: int
    boxes: Tensor
    """Tensor[n, 4] float32, [x1, y1, x2, y2] in pixels of the network's input; n may be 0."""
    labels: Tensor
    """Tensor[n] int64, detector labels 1 … T."""
    masks: Tensor
    """Tensor[n, H, W] uint8, one per box; may overlap."""
    semantic: Tensor
    """Tensor[H, W] int64, semantic labels, `categories.VOID` where unknown."""


@dataclass
class Batch:
    """Images of one micro-batch, padded at the right and bottom to one size."""

    images: Tensor
    """Tensor[N, 3, H, W] uint8 RGB."""
    image_sizes: list[tuple[int, int]]
    """(height, width) of each image without padding."""
    targets: list[Target]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`."""
        targets = [
            Target(
                image_id=target["image_id"],
                boxes=target["boxes"].to(device, non_blocking=True),
                labels=target["labels"].to(device, non_blocking=True),
                masks=target["masks"].to(device, non_blocking=True),
                semantic=target["semantic"].to(device, non_blocking=True),
            )
            for target in self.targets
        ]
        return Batch(self.images.to(device, non_blocking=True), self.image_sizes, targets)


@dataclass
class PackedTarget:
    """A `Target` whose masks and semantic map are not expanded yet: small enough to pass between processes."""

    image_id: int
    boxes: NDArray[Any]
    """float32[n, 4], as in `Target`."""
    labels: NDArray[Any]
    """int64[n], as in `Target`."""
    numbers: NDArray[Any]
    """int64[n]: the value in the segment map of each box's thing. Unused where there are `masks`."""
    semantic: NDArray[Any]
    """int64[S + 1]: the semantic label of each value of the segment map, `categories.VOID` first."""
    masks: Tensor | None = None
    """Tensor[n, H, W] uint8 where the things come from an instances JSON and may overlap."""

    def unpack(self, segment_map: Tensor) -> Target:
        """The full target, on the device of `segment_map`, Tensor[H, W] of 0 for void and n for the n-th segment."""
        device = segment_map.device
        if self.masks is None:
            numbers = torch.from_numpy(self.numbers).to(device, segment_map.dtype, non_blocking=True)
            masks = (segment_map == numbers.view(-1, 1, 1)).view(torch.uint8)
        else:
            masks = self.masks.to(device, non_blocking=True)
        semantic = torch.from_numpy(self.semantic).to(device, non_blocking=True)
        return Target(
            image_id=self.image_id,
            boxes=torch.from_numpy(self.boxes).to(device, non_blocking=True),
            labels=torch.from_numpy(self.labels).to(device, non_blocking=True),
            masks=masks,
            semantic=semantic.index_select(0, segment_map.flatten().int()).view(segment_map.shape),
        )


@dataclass
class PackedBatch:
    """A `Batch` with a byte per pixel of annotation; `to` expands the masks on the device where they are used."""

    images: Tensor
    """Tensor[N, 3, H, W] uint8 RGB, padded at the right and bottom."""
    image_sizes: list[tuple[int, int]]
    """(height, width) of each image without padding."""
    segment_maps: Tensor
    """Tensor[N, H, W] of the smallest integer type: 0 is void, n the n-th segment of that image."""
    targets: list[PackedTarget]

    def pin_memory(self) -> PackedBatch:
        """The same batch in page-locked memory, from which copies to a GPU are asynchronous."""
        masks = [None if t.masks is None else t.masks.pin_memory() for t in self.targets]
        return PackedBatch(
            self.images.pin_memory(),
            self.image_sizes,
            self.segment_maps.pin_memory(),
            [replace(t, masks=m) for t, m in zip(self.targets, masks, strict=True)],
        )

    def to(self, device: torch.device | str) -> Batch:
        """The batch that the network is called with, on `device`."""
        maps = self.segment_maps.to(device, non_blocking=True)
        targets = [
            target.unpack(segment_map[:height, :width])
            for target, segment_map, (height, width) in zip(self.targets, maps, self.image_sizes, strict=True)
        ]
        return Batch(self.images.to(device, non_blocking=True), self.image_sizes, targets)


class Detections:
    """Instances detected in one image, in pixels of that image.

    Args:
        boxes: Tensor[K, 4] float32, [x1, y1, x2, y2].
        scores: Tensor[K] float32 in [0, 1], not increasing.
        labels: Tensor[K] int64, detector labels 1 … T.
        masks: Tensor[K, H, W] bool, or K masks that are enlarged when they are asked for.
    """

    def __init__(self, boxes: Tensor, scores: Tensor, labels: Tensor, masks: Tensor | InstanceMasks) -> None:
        self.boxes, self.scores, self.labels, self.stored_masks = boxes, scores, labels, masks

    @property
    def masks(self) -> Tensor:
        """Tensor[K, H, W] bool: a byte for each pixel of the image and instance. `window` gives one at a time."""
        return self.stored_masks.full() if isinstance(self.stored_masks, InstanceMasks) else self.stored_masks

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """(K, H, W)."""
        stored = self.stored_masks
        return (len(stored), *stored.size) if isinstance(stored, InstanceMasks) else tuple(stored.shape)

    def window(self, index: int) -> Window:
        """The rows and columns that hold a mask, and the mask in them."""
        if isinstance(self.stored_masks, InstanceMasks):
            return self.stored_masks.window(index)
        return slice(None), slice(None), self.stored_masks[index].bool()


@dataclass
class Prediction:
    """The network's predictions for one image, before fusion."""

    detections: Detections
    semantics: SemanticLogits
    """The logits at the size of the image, some channels at a time."""

    @property
    def semantic_logits(self) -> Tensor:
        """Tensor[num_semantic, H, W] float32: four bytes for each pixel of the image and channel."""
        return self.semantics.full()


@dataclass
class PanopticMap:
    """One label and one instance for every pixel."""

    ids: Tensor
    """Tensor[H, W] int32; 0 is void, every other value is the id of one segment."""
    segments: list[Segment]
