"""What flows between the parts: targets into the network, predictions out of it, panoptic maps at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import torch
from torch import Tensor


class Target(TypedDict):
    """The ground truth of one image, in the form torchvision's detectors take, plus the semantic map."""

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
    """Images of one step, padded at the right and bottom to one size."""

    images: Tensor
    """Tensor[N, 3, H, W] uint8 RGB."""
    image_sizes: list[tuple[int, int]]
    """(height, width) of each image without padding."""
    targets: list[Target]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`."""
        moved: list[Target] = [
            {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in t.items()}  # type: ignore[misc]
            for t in self.targets
        ]
        return Batch(self.images.to(device, non_blocking=True), self.image_sizes, moved)


@dataclass
class Detections:
    """Instances found in one image, in pixels of that image."""

    boxes: Tensor
    """Tensor[K, 4] float32, [x1, y1, x2, y2]."""
    scores: Tensor
    """Tensor[K] float32 in [0, 1], not increasing."""
    labels: Tensor
    """Tensor[K] int64, detector labels 1 … T."""
    masks: Tensor
    """Tensor[K, H, W] bool."""


@dataclass
class Prediction:
    """What the network says about one image, before fusion."""

    detections: Detections
    semantic_logits: Tensor
    """Tensor[num_semantic, H, W] float32, at the size of the image."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One entry of `segments_info`."""

    id: int
    category_id: int
    is_thing: bool
    area: int
    score: float | None = None
    """Confidence of the instance; None for stuff and for ground truth."""
    is_crowd: bool = False


@dataclass
class PanopticMap:
    """One label and one instance for every pixel."""

    ids: Tensor
    """Tensor[H, W] int32; 0 is void, every other value is the id of one segment."""
    segments: list[Segment]
