"""Masks and logits at the size of an image, made in portions: of a large image, all at once can be many gigabytes."""

from __future__ import annotations

import math
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

    Its value at the centre of a pixel is interpolated between those of the mask head's cells, whose centres divide the
    box evenly; beyond the outermost centres it stays the same up to the edge of the box.
    """

    probs: Tensor
    """Tensor[K, 1, m, m] float32 in [0, 1]."""
    boxes: Tensor
    """Tensor[K, 4], [x1, y1, x2, y2]: where the masks are, in the image in which they were detected."""
    size: tuple[int, int]
    """(height, width) of the image."""
    mirrored: Tensor | None = None
    """Tensor[K] bool: detected in the mirrored image, `boxes` too. None: nowhere."""
    whole_pixels: bool = False
    """Boxes are cut to whole pixels: torchvision's `paste_masks_in_image` > 0.5, bit for bit, half a pixel off."""
    grids: Tensor | None = None
    """Tensor[K, 4]: the boxes that the cells divide, where they are not quite `boxes`, in which the masks are."""

    def __len__(self) -> int:
        return len(self.boxes)

    def window(self, index: int) -> Window:
        """The extent of a mask, and the mask in it."""
        rows, columns, mask = self._paste_whole(index) if self.whole_pixels else self._paste(index)
        if self._is_mirrored[index]:
            width = self.size[1]
            columns, mask = slice(width - columns.stop, width - columns.start), mask.flip(-1)
        return rows, columns, mask

    def _paste(self, index: int) -> Window:
        x1, y1, x2, y2 = self._edges[index]
        left, top, right, bottom = self._grid_edges[index]
        rows, columns = _pixels(y1, y2, self.size[0]), _pixels(x1, x2, self.size[1])
        row_weights, column_weights = self._shares(rows, top, bottom), self._shares(columns, left, right)
        return rows, columns, row_weights @ self.probs[index, 0] @ column_weights.T > 0.5

    def _shares(self, pixels: slice, low: float, high: float) -> Tensor:
        """What each pixel takes of each of the cells that divide (low, high), Tensor[pixels, m]."""
        cells = self.probs.shape[-1]
        scale = cells / max(high - low, 1e-9)
        positions = (self._numbers[pixels] * scale).add_((0.5 - low) * scale - 0.5).clamp_(0, cells - 1)
        return (1 - (positions[:, None] - self._numbers[:cells]).abs_()).clamp_(min=0)

    def _paste_whole(self, index: int) -> Window:
        height, width = self.size
        x1, y1, x2, y2 = self._corners[index]
        enlarged = F.interpolate(
            self._padded[index][None], size=(y2 - y1 + 1, x2 - x1 + 1), mode="bilinear", align_corners=False
        )[0, 0]
        left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2 + 1, width), min(y2 + 1, height)
        return slice(top, bottom), slice(left, right), enlarged[top - y1 : bottom - y1, left - x1 : right - x1] > 0.5

    def full(self) -> Tensor:
        """All masks, Tensor[K, H, W] bool."""
        masks = torch.zeros((len(self), *self.size), dtype=torch.bool, device=self.boxes.device)
        for index, mask in enumerate(masks):
            rows, columns, content = self.window(index)
            mask[rows, columns] = content
        return masks

    def select(self, indices: Tensor) -> InstanceMasks:
        """The masks at `indices`, Tensor[k] int64."""
        grids = None if self.grids is None else self.grids[indices]
        return replace(
            self,
            probs=self.probs[indices],
            boxes=self.boxes[indices],
            mirrored=self._mirrored[indices],
            grids=grids,
        )

    def mirror(self) -> InstanceMasks:
        """The masks in the mirrored image."""
        return replace(self, mirrored=~self._mirrored)

    @staticmethod
    def join(masks: Sequence[InstanceMasks]) -> InstanceMasks:
        """The masks of several views of one image by one network, one after the other."""
        parts = [(own.probs, own.boxes, own._mirrored, own.boxes if own.grids is None else own.grids) for own in masks]
        probs, boxes, mirrored, grids = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return replace(masks[0], probs=probs, boxes=boxes, mirrored=mirrored, grids=grids)

    @property
    def _mirrored(self) -> Tensor:
        none = torch.zeros(len(self), dtype=torch.bool, device=self.boxes.device)
        return none if self.mirrored is None else self.mirrored

    @cached_property
    def _is_mirrored(self) -> list[bool]:
        return [False] * len(self) if self.mirrored is None else self.mirrored.tolist()

    @cached_property
    def _edges(self) -> list[tuple[float, float, float, float]]:
        return self.boxes.tolist()

    @cached_property
    def _grid_edges(self) -> list[tuple[float, float, float, float]]:
        return self._edges if self.grids is None else self.grids.tolist()

    @cached_property
    def _numbers(self) -> Tensor:
        return torch.arange(max(*self.size, self.probs.shape[-1]), dtype=self.probs.dtype, device=self.probs.device)

    @cached_property
    def _padded(self) -> Tensor:
        return expand_masks(self.probs, 1)[0]

    @cached_property
    def _corners(self) -> list[tuple[int, int, int, int]]:
        return expand_boxes(self.boxes, expand_masks(self.probs, 1)[1]).long().tolist()


def _pixels(low: float, high: float, length: int) -> slice:
    """The pixels of a side of `length` whose centres are in [low, high)."""
    first = min(max(math.ceil(low - 0.5), 0), length)
    return slice(first, min(max(math.ceil(high - 0.5), first), length))


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
