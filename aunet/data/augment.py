"""Random and fixed geometry and colour, as pure functions of a random generator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import functional as transforms

from aunet.config import AugmentConfig
from aunet.data.sample import PAD_COLOR, Instance, Sample, write_padded


@dataclass(frozen=True)
class Geometry:
    """Cut a box out of the source, resize it, mirror it, pad it."""

    top: int
    left: int
    height: int
    width: int
    """The box, in pixels of the source."""
    size: tuple[int, int]
    """(height, width) the box is resized to."""
    flip: bool
    canvas: tuple[int, int]
    """(height, width) of the result; beyond `size` it is padded at the right and bottom."""

    def image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bilinear, antialiased: uint8[H, W, 3] → uint8[*canvas, 3]."""
        box = image[self.top : self.top + self.height, self.left : self.left + self.width]
        if box.shape[:2] != self.size:
            tensor = torch.from_numpy(np.ascontiguousarray(box)).permute(2, 0, 1)
            box = transforms.resize(tensor, list(self.size), antialias=True).permute(1, 2, 0).numpy()
        if self.flip:  # torch mirrors bytes thirty times as fast as numpy
            box = torch.from_numpy(box).permute(2, 0, 1).flip(-1).permute(1, 2, 0).numpy()
        if self.canvas == self.size:
            return np.ascontiguousarray(box)
        result = np.empty((*self.canvas, 3), np.uint8)
        write_padded(result, box, PAD_COLOR)
        return result

    def labels(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Nearest neighbour: [H, W] → [*canvas], padded with 0."""
        rows = self.top + ((np.arange(self.size[0]) + 0.5) * self.height / self.size[0]).astype(np.int64)
        columns = self.left + ((np.arange(self.size[1]) + 0.5) * self.width / self.size[1]).astype(np.int64)
        resized = labels.take(columns[::-1] if self.flip else columns, axis=1).take(rows, axis=0)
        if self.canvas == self.size:
            return resized
        result = np.empty(self.canvas, labels.dtype)
        write_padded(result, resized, 0)
        return result


def fitted_size(height: int, width: int, short_side: int, max_size: int) -> tuple[int, int]:
    """Size with the shorter side at `short_side`, or less where the longer one would exceed `max_size`."""
    factor = min(short_side / min(height, width), max_size / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def evaluation_size(height: int, width: int, config: AugmentConfig, scale: float = 1.0) -> tuple[int, int]:
    """Size that an image of (height, width) is resized to in evaluation, at one of the `test_scales`."""
    return fitted_size(height, width, round(config.short_sides[-1] * scale), round(config.max_size * scale))


def resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize `uint8[H, W, 3]` as in evaluation."""
    height, width = image.shape[:2]
    return Geometry(0, 0, height, width, size=size, flip=False, canvas=size).image(image)


def augment(sample: Sample, config: AugmentConfig, rng: np.random.Generator) -> Sample:
    """Draw a geometry and colours from `rng` and apply them; the same `rng` state gives the same sample."""
    height, width = sample.image.shape[:2]
    geometry = draw_geometry(height, width, config, rng)
    instances = sample.instances
    return replace(
        sample,
        image=_jitter(geometry.image(sample.image), config.color, rng),
        segment_map=geometry.labels(sample.segment_map),
        instances=None
        if instances is None
        else [Instance(i.category_id, i.is_crowd, geometry.labels(i.mask)) for i in instances],
    )


def draw_geometry(height: int, width: int, config: AugmentConfig, rng: np.random.Generator) -> Geometry:
    """A random scale, crop and flip for an image of (height, width)."""
    short_side = int(rng.choice(config.short_sides))
    scale = _draw_scale(config, rng)
    scaled = fitted_size(height, width, round(short_side * scale), round(config.max_size * scale))
    crop = config.crop or scaled
    size = (min(crop[0], scaled[0]), min(crop[1], scaled[1]))
    box = (max(1, round(height * size[0] / scaled[0])), max(1, round(width * size[1] / scaled[1])))
    top, left = int(rng.integers(0, height - box[0] + 1)), int(rng.integers(0, width - box[1] + 1))
    return Geometry(top, left, *box, size=size, flip=config.flip and bool(rng.random() < 0.5), canvas=crop)


def _draw_scale(config: AugmentConfig, rng: np.random.Generator) -> float:
    low, high = config.scale
    if config.scale_draw == "uniform":
        return float(rng.uniform(low, high))
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _jitter(image: NDArray[np.uint8], strength: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Random brightness, contrast, saturation (factor 1 ± strength) and hue (± strength / 4 of half a turn)."""
    if not strength:
        return image
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, size=3)
    hue = rng.uniform(-strength / 4, strength / 4) / 2
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    tensor = transforms.adjust_brightness(tensor, brightness)
    tensor = transforms.adjust_contrast(tensor, contrast)
    tensor = transforms.adjust_saturation(tensor, saturation)
    tensor = transforms.adjust_hue(tensor, hue)
    return tensor.permute(1, 2, 0).contiguous().numpy()
