"""Panoptic maps as pictures for people: colours, contours and names over the image."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from aunet.categories import Categories
from aunet.segments import Segment

Picture = npt.NDArray[np.uint8]
"""uint8[H, W, 3], RGB."""
Color = tuple[int, int, int]

_MIN_LONG_SIDE = 400
"""Pictures whose longer side has fewer pixels are enlarged before anything is written on them."""
_SHADES = ((0.0, 0.0), (0.14, 0.03), (-0.13, -0.03), (0.07, -0.05), (-0.07, 0.05), (0.2, 0.0), (-0.2, 0.02))
"""Change of lightness and hue of the first, second, … instance of a category."""


def draw_panoptic(
    image: Picture, ids: npt.NDArray[np.integer] | Tensor, segments: Sequence[Segment], categories: Categories
) -> Picture:
    """Lay a panoptic map over its image.

    Every category has its colour (`Category.color`, or one of a palette), every instance a shade of it. Void is dark
    grey. Names are written where there is room.

    Args:
        image: uint8[H, W, 3].
        ids: integer [H, W], array or tensor; 0 is void.
        segments: those of `ids`; an id without a segment is drawn as void.
        categories: of the data set.

    Returns:
        uint8[f·H, f·W, 3], where f is 1, or for a small image the integer that makes it large enough to read.
    """
    labels = ids.detach().cpu().numpy() if isinstance(ids, Tensor) else np.asarray(ids)
    if image.shape != (*labels.shape, 3):
        raise ValueError(f"image must have shape {[*labels.shape, 3]} as ids has, got {list(image.shape)}")
    factor = max(1, -(-_MIN_LONG_SIDE // max(labels.shape)))
    canvas = enlarge(image, factor).astype(np.float32)
    order = np.array(sorted({0, *(s.id for s in segments)}))
    indices = np.minimum(np.searchsorted(order, labels), len(order) - 1)
    indices = np.where(order[indices] == labels, indices, 0).repeat(factor, 0).repeat(factor, 1)  # 0: void
    by_index = {int(np.searchsorted(order, s.id)): s for s in segments if s.id}

    colors, weights = np.zeros((len(order), 3), np.float32), np.zeros((len(order), 1), np.float32)
    edges = np.zeros((len(order), 1), np.float32)
    for index, color in zip(by_index, segment_colors(list(by_index.values()), categories), strict=True):
        is_thing = by_index[index].is_thing
        colors[index] = color
        weights[index] = 0.62 if is_thing else 0.5
        edges[index] = 0.9 if is_thing else 0.3
    weight = weights[indices]
    grey = canvas.mean(-1, keepdims=True)
    canvas = np.where(indices[..., None] == 0, 0.4 * grey, canvas * (1 - weight) + colors[indices] * weight)
    edge = contours(indices) * np.maximum(edges[indices], 0.3)[..., 0]
    canvas += (255 - canvas) * edge[..., None]

    picture = Image.fromarray(canvas.round().clip(0, 255).astype(np.uint8))
    _write_names(picture, indices, {n: categories.by_id[s.category_id].name for n, s in by_index.items()})
    return np.array(picture)


def side_by_side(pictures: Sequence[Picture], titles: Sequence[str]) -> Picture:
    """Put pictures in a row, a title above each; smaller ones are first enlarged by an integer."""
    if len(pictures) != len(titles) or not pictures:
        raise ValueError(f"give one title per picture, got {len(pictures)} pictures and {len(titles)} titles")
    tallest = max(p.shape[0] for p in pictures)
    panels = [enlarge(p, max(1, tallest // p.shape[0])) for p in pictures]
    gap, strip = 6, 26
    width = sum(p.shape[1] for p in panels) + gap * (len(panels) - 1)
    sheet = Image.new("RGB", (width, max(p.shape[0] for p in panels) + strip), (250, 250, 250))
    draw, font, left = ImageDraw.Draw(sheet), ImageFont.load_default(15), 0
    for panel, title in zip(panels, titles, strict=True):
        sheet.paste(Image.fromarray(panel), (left, strip))
        draw.text((left + 4, strip // 2), title, fill=(30, 30, 30), font=font, anchor="lm")
        left += panel.shape[1] + gap
    return np.array(sheet)


def enlarge(image: Picture, factor: int) -> Picture:
    """uint8[H, W, 3] → uint8[factor·H, factor·W, 3], bicubic."""
    if factor == 1:
        return image
    height, width = image.shape[:2]
    return np.array(Image.fromarray(image).resize((factor * width, factor * height), Image.Resampling.BICUBIC))


def category_colors(categories: Categories) -> dict[int, Color]:
    """category_id → its own colour, or one of a palette: strong for things, soft for stuff."""
    return {
        c.id: c.color or _rgb(n * 0.618 % 1, 0.55 if c.is_thing else 0.68, 0.85 if c.is_thing else 0.42)
        for n, c in enumerate(categories.entries)
    }


def segment_colors(segments: Sequence[Segment], categories: Categories) -> list[Color]:
    """Of each segment: its category's colour, every further instance a shade of it."""
    color_of, num_drawn, colors = category_colors(categories), {}, []
    for segment in segments:
        color = color_of[segment.category_id]
        if segment.is_thing:
            number = num_drawn.get(segment.category_id, 0)
            num_drawn[segment.category_id] = number + 1
            lightness_change, hue_change = _SHADES[number % len(_SHADES)]
            hue, lightness, saturation = colorsys.rgb_to_hls(*(v / 255 for v in color))
            color = _rgb((hue + hue_change) % 1, min(max(lightness + lightness_change, 0.2), 0.85), saturation)
        colors.append(color)
    return colors


def _rgb(hue: float, lightness: float, saturation: float) -> Color:
    red, green, blue = (round(255 * v) for v in colorsys.hls_to_rgb(hue, lightness, saturation))
    return red, green, blue


def contours(indices: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """bool[H, W]: the pixels whose right or lower neighbour belongs to another segment."""
    edge = np.zeros(indices.shape, bool)
    edge[:, :-1] |= indices[:, :-1] != indices[:, 1:]
    edge[:-1] |= indices[:-1] != indices[1:]
    return edge


def _write_names(picture: Image.Image, indices: npt.NDArray[np.integer], names: dict[int, str]) -> None:
    draw = ImageDraw.Draw(picture, "RGBA")
    font = ImageFont.load_default(min(max(min(picture.size) / 30, 11), 18))
    for index, name in names.items():
        left, top, right, bottom = (round(v) for v in draw.textbbox((0, 0), name, font=font))
        corner = _room(indices == index, bottom - top + 6, right - left + 8)
        if corner:
            y, x = corner
            box = (x, y, x + right - left + 7, y + bottom - top + 5)
            draw.rounded_rectangle(box, radius=4, fill=(0, 0, 0, 150))
            draw.text((x + 4 - left, y + 3 - top), name, fill=(255, 255, 255, 255), font=font)


def _room(mask: npt.NDArray[np.bool_], height: int, width: int) -> tuple[int, int] | None:
    """Top left corner of the box of this size that is in the mask and nearest to its centre; None without room."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows) or rows[-1] - rows[0] + 1 < height or columns[-1] - columns[0] + 1 < width:
        return None
    window = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    sums = np.zeros((window.shape[0] + 1, window.shape[1] + 1), np.int32)
    sums[1:, 1:] = window.cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32)
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    y, x = np.nonzero(inside >= 0.97 * height * width)
    if not len(y):
        return None
    within_y, within_x = np.nonzero(window)
    distance = (y + height / 2 - within_y.mean()) ** 2 + (x + width / 2 - within_x.mean()) ** 2
    nearest = int(distance.argmin())
    return int(rows[0] + y[nearest]), int(columns[0] + x[nearest])
