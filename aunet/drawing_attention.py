"""M' of the attention modules as heat maps over the image, as in Figure 6."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from aunet.drawing import Picture

SIDE = 480
"""Longer side of each panel, in pixels."""
MIN_SPAN = 0.1
"""A map that varies less is drawn in nearly one colour: what is practically constant must not look like a pattern."""
_VIRIDIS = "440154 482878 3e4a89 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725"
_COLORS = np.array([tuple(bytes.fromhex(color)) for color in _VIRIDIS.split()], np.float32)
"""Ten steps of viridis, in which equal differences look equal: dark violet is low, yellow is high."""
_STRIP, _GAP, _BAR, _LEAST_WIDTH = 30, 6, 84, 240
_OPACITY = 0.65
_INK, _PAPER = (30, 30, 30), (250, 250, 250)


def draw_attention(image: Picture, attention: Mapping[str, Tensor]) -> Picture:
    """The image, then each map in colours over it, in rows; above each its name and a legend of its colours.

    Every map has a range of its own, from its least to its greatest value but at least `MIN_SPAN` wide.

    Args:
        image: uint8[H, W, 3].
        attention: M' by name, each Tensor[H, W] in [0, 1].

    Returns:
        uint8[h, w, 3]; the longer side of each panel has `SIDE` pixels, whatever the image's size.
    """
    scale = SIDE / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    base = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    grey = np.asarray(base.convert("L"), np.float32)[..., None]
    columns = math.ceil(math.sqrt(1 + len(attention)))
    cell = (max(width, _LEAST_WIDTH), height + _STRIP)
    rows = math.ceil((1 + len(attention)) / columns)
    sheet = Image.new("RGB", (columns * (cell[0] + _GAP) - _GAP, rows * (cell[1] + _GAP) - _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (name, values) in enumerate([("image", None), *attention.items()]):
        row, column = divmod(number, columns)
        left, top = column * (cell[0] + _GAP), row * (cell[1] + _GAP)
        panel = base
        draw.text((left + 4, top + _STRIP // 2), name, fill=_INK, font=ImageFont.load_default(16), anchor="lm")
        if values is not None:
            if values.shape != image.shape[:2]:
                raise ValueError(f"{name} must have shape {list(image.shape[:2])} as image has")
            array = values.detach().cpu().float().numpy()
            low, high = value_range(array)
            resized = Image.fromarray(array).resize((width, height), Image.Resampling.BILINEAR)
            heat = colorize((np.asarray(resized) - low) / (high - low))
            mixed = _OPACITY * heat + (1 - _OPACITY) * grey
            panel = Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))
            _write_legend(sheet, draw, left + cell[0] - 4, top, low, high)
        sheet.paste(panel, (left, top + _STRIP))
    return np.array(sheet)


def value_range(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """The least and the greatest value, spread to `MIN_SPAN` where they are closer to each other."""
    low, high = float(values.min()), float(values.max())
    high = max(high, MIN_SPAN)
    return min(low, high - MIN_SPAN), high


def colorize(shares: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """[…] of 0 (least) … 1 (greatest) → float32[…, 3] of colours, 0 … 255."""
    steps = np.arange(len(_COLORS)) / (len(_COLORS) - 1)
    return np.stack([np.interp(shares, steps, channel) for channel in _COLORS.T], axis=-1).astype(np.float32)


def _write_legend(sheet: Image.Image, draw: ImageDraw.ImageDraw, right: int, top: int, low: float, high: float) -> None:
    font, middle = ImageFont.load_default(13), top + _STRIP // 2
    draw.text((right, middle), f"{high:.2f}", fill=_INK, font=font, anchor="rm")
    right -= 36
    bar = np.broadcast_to(colorize(np.linspace(0, 1, _BAR)).round().astype(np.uint8), (10, _BAR, 3))
    sheet.paste(Image.fromarray(np.ascontiguousarray(bar)), (right - _BAR, middle - 5))
    draw.text((right - _BAR - 6, middle), f"{low:.2f}", fill=_INK, font=font, anchor="rm")
