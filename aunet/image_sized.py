"""Masks and logits at the size of an image, made in portions: of a large image, all at once can be many gigabytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks

Window = tuple[slice, slice, Tensor]
"""Rows and columns of an image, and what is in them: bool[rows, columns]."""
GROUP_BYTES = 2**30
"""Logits that are made at once."""
CHANNELS_TOGETHER = 16
"""Channels that a processor enlarges together: groups of other sizes differ from all of them in the last bit."""


@dataclass(frozen=True)
class InstanceMasks:
    """The masks of K instances as the mask head gives them; each is enlarged to its box when it is asked for.

    Enlarged, they are torchvision's `paste_masks_in_image` > 0.5, bit for bit.
    """

    probs: Tensor
    """Tensor[K, 1, m, m] float32 in [0, 1]."""
    boxes: Tensor
    """Tensor[K, 4], [x1, y1, x2, y2], inside the image in which they were detected."""
    size: tuple[int, int]
    """(height, width) of the image."""
    mirrored: Tensor | None = None
    """Tensor[K] bool: detected in the mirrored image, `boxes` too. None: nowhere."""

    def __len__(self) -> int:
        return len(self.boxes)

    def window(self, index: int) -> Window:
        """The extent of a mask, and the mask in it."""
        height, width = self.size
        x1, y1, x2, y2 = self._corners[index]
        enlarged = F.interpolate(
            self._padded[index][None], size=(y2 - y1 + 1, x2 - x1 + 1), mode="bilinear", align_corners=False
        )[0, 0]
        left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2 + 1, width), min(y2 + 1, height)
        mask = enlarged[top - y1 : bottom - y1, left - x1 : right - x1] > 0.5
        if self._is_mirrored[index]:
            left, right, mask = width - right, width - left, mask.flip(-1)
        return slice(top, bottom), slice(left, right), mask

    def full(self) -> Tensor:
        """All masks, Tensor[K, H, W] bool."""
        masks = torch.zeros((len(self), *self.size), dtype=torch.bool, device=self.boxes.device)
        for index, mask in enumerate(masks):
            rows, columns, content = self.window(index)
            mask[rows, columns] = content
        return masks

    def select(self, indices: Tensor) -> InstanceMasks:
        """The masks at `indices`, Tensor[k] int64."""
        return replace(self, probs=self.probs[indices], boxes=self.boxes[indices], mirrored=self._mirrored[indices])

    def mirror(self) -> InstanceMasks:
        """The masks in the mirrored image."""
        return replace(self, mirrored=~self._mirrored)

    @staticmethod
    def join(masks: Sequence[InstanceMasks]) -> InstanceMasks:
        """The masks of several views of one image, one after the other."""
        parts = [(own.probs, own.boxes, own._mirrored) for own in masks]
        probs, boxes, mirrored = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return InstanceMasks(probs, boxes, masks[0].size, mirrored)

    @property
    def _mirrored(self) -> Tensor:
        none = torch.zeros(len(self), dtype=torch.bool, device=self.boxes.device)
        return none if self.mirrored is None else self.mirrored

    @cached_property
    def _is_mirrored(self) -> list[bool]:
        return [False] * len(self) if self.mirrored is None else self.mirrored.tolist()

    @cached_property
    def _padded(self) -> Tensor:
        return expand_masks(self.probs, 1)[0]

    @cached_property
    def _corners(self) -> list[tuple[int, int, int, int]]:
        return expand_boxes(self.boxes, expand_masks(self.probs, 1)[1]).long().tolist()


@dataclass(frozen=True)
class SemanticLogits:
    """Semantic logits as the network gives them; groups of channels are enlarged when they are asked for."""

    coarse: Tensor
    """Tensor[1, S, h, w] float32, of the network's padded input."""
    input_size: tuple[int, int]
    """(height, width) of that input."""
    image_size: tuple[int, int]
    """(height, width) of the image inside it."""
    size: tuple[int, int]
    """(height, width) of the result."""
    is_mirrored: bool = False

    @staticmethod
    def of(logits: Tensor) -> SemanticLogits:
        """Logits Tensor[S, H, W] that have the size of the image already."""
        size = (logits.shape[1], logits.shape[2])
        return SemanticLogits(logits[None], size, size, size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, H, W)."""
        return self.coarse.shape[1], *self.size

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.coarse.device

    def mirror(self) -> SemanticLogits:
        """Those of the mirrored image."""
        return replace(self, is_mirrored=not self.is_mirrored)

    def groups(self, group_bytes: int = GROUP_BYTES) -> Iterator[Tensor]:
        """Some channels after the other, each Tensor[s, H, W] float32 of at most `group_bytes`, or one channel.

        All channels at once where they are small enough; they are the same, bit for bit, in groups of
        `CHANNELS_TOGETHER`. Where not even these are small enough, single channels differ by rounding.
        """
        count, height, width = self.shape
        fitting = group_bytes // (4 * height * width)
        step = count if fitting >= count else max(1, fitting // CHANNELS_TOGETHER * CHANNELS_TOGETHER)
        is_last = self.coarse.is_contiguous(memory_format=torch.channels_last) and not self.coarse.is_contiguous()
        layout = torch.channels_last if is_last else torch.contiguous_format
        for first in range(0, count, step):
            group = self.coarse[:, first : first + step]
            yield self._enlarged(group if step == count else group.contiguous(memory_format=layout))

    def full(self) -> Tensor:
        """All channels, Tensor[S, H, W] float32."""
        return self._enlarged(self.coarse)

    def _enlarged(self, logits: Tensor) -> Tensor:
        for size, shown in ((self.input_size, self.image_size), (self.size, self.size)):
            if logits.shape[2:] != size:
                logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
            logits = logits[:, :, : shown[0], : shown[1]]
        return logits[0].flip(-1) if self.is_mirrored else logits[0]
