"""One image of a report: the picture, and layers to be laid over it, as small files and plain values."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from aunet.categories import Categories
from aunet.data.sample import Sample
from aunet.drawing import Color, contours, segment_colors
from aunet.drawing_attention import colorize, value_range
from aunet.evaluation.outcomes import Fate, Outcomes
from aunet.evaluation.overlap import Overlap, measure_overlap
from aunet.segments import Segment
from aunet.structures import PanopticMap
from pipelines.pages.errors_layer import draw_verdicts, judge_pixels
from pipelines.pages.palette_png import palette_png
from pipelines.pages.picks import Pick

MAX_SIDE = 640
"""Pixels of the longer side of a picture."""
MIN_SIDE = 400
"""Layers of smaller images are enlarged, so that outlines and patterns are fine."""
ATTENTION_SIDE = 112
MAX_SEGMENTS = 127
"""Of a layer, the largest; a palette has two colours for each, one of them for its outline."""
SHADES = 64
"""Steps of an attention map."""
VOID_COLOR, VOID_EDGE = (16, 18, 22, 150), (255, 255, 255, 70)


@dataclass(frozen=True, slots=True)
class _Compared:
    """A panoptic map of the image beside its ground truth."""

    overlap: Overlap
    outcomes: Outcomes
    segments: Sequence[Segment]
    columns: NDArray[np.integer]
    """[H, W], of `overlap.pixels`."""

    def pq(self, categories: Categories) -> float | None:
        pq = float(self.outcomes.counts(categories).image_pq()[0])
        return None if np.isnan(pq) else pq


def draw_item(
    sample: Sample,
    predicted: PanopticMap,
    attention: Mapping[str, Tensor],
    unguided: PanopticMap | None,
    pick: Pick,
    categories: Categories,
) -> dict[str, Any]:
    """What the page needs to know of one image.

    Args:
        sample: the image with its annotation.
        predicted: its prediction.
        attention: M' by name, each Tensor[H, W]; may be empty.
        unguided: the prediction without attention; None: the model has none.

    Returns:
        `image_id width height pq change unguided_pq moved` (share of the pixels that the attention moves to another
        category), `picture` (WebP), `layers` (PNG by name), `ranges` (of the attention maps), and the segments of the
        layers `truth`, `prediction` and `unguided` in `segments`, in the order of the colours:
        [id, category, area, fate, IoU, category of the other side or -1, score or None].
    """
    size = shown_size(*sample.segment_map.shape)
    true_ids, true_segments = sample.true_ids(), sample.true_segments()
    compared = _compare(predicted, true_ids, true_segments, sample.image_id, categories)
    overlap = compared.overlap
    rows = np.searchsorted(overlap.true_ids, true_ids)
    colors = dict(zip((s.id for s in true_segments), segment_colors(true_segments, categories), strict=True))
    verdicts = judge_pixels(overlap, rows, compared.columns)
    true_layer, true_list = _layer(rows, true_segments, colors, compared.outcomes, False, size)
    layer, segments = _predicted_layer(compared, colors, categories, size)
    item: dict[str, Any] = {
        "image_id": sample.image_id,
        "width": sample.image.shape[1],
        "height": sample.image.shape[0],
        "pq": pick.pq if pick.pq is not None else compared.pq(categories),
        "change": pick.change,
        "unguided_pq": None,
        "moved": None,
        "picture": _webp(sample.image),
        "layers": {"truth": true_layer, "prediction": layer, "errors": draw_verdicts(_resize(verdicts, size))},
        "ranges": {},
        "segments": {"truth": true_list, "prediction": segments},
    }
    if unguided is not None:
        other = _compare(unguided, true_ids, true_segments, sample.image_id, categories)
        item["layers"]["unguided"], item["segments"]["unguided"] = _predicted_layer(other, colors, categories, size)
        item["layers"]["unguided_errors"] = draw_verdicts(
            _resize(judge_pixels(other.overlap, rows, other.columns), size)
        )
        kinds = [c.overlap.predicted_category[c.columns] for c in (compared, other)]
        item |= {"unguided_pq": other.pq(categories), "moved": float((kinds[0] != kinds[1]).mean())}
    for name, values in attention.items():
        item["layers"][name], item["ranges"][name] = _heat(values)
    return item


def shown_size(height: int, width: int) -> tuple[int, int]:
    """Of the layers of an image: not over `MAX_SIDE`, and small ones enlarged by an integer."""
    longer = max(height, width)
    if longer > MAX_SIDE:
        return max(1, round(height * MAX_SIDE / longer)), max(1, round(width * MAX_SIDE / longer))
    factor = -(-MIN_SIDE // longer)
    return height * factor, width * factor


def _compare(
    panoptic: PanopticMap,
    true_ids: NDArray[np.int32],
    true_segments: list[Segment],
    image_id: int,
    categories: Categories,
) -> _Compared:
    ids = panoptic.ids.cpu().numpy()
    overlap = measure_overlap(ids, panoptic.segments, true_ids, true_segments, categories)
    columns = np.searchsorted(overlap.predicted_ids, ids)
    return _Compared(overlap, Outcomes.of(overlap, image_id), panoptic.segments, columns)


def _predicted_layer(
    compared: _Compared, true_colors: Mapping[int, Color], categories: Categories, size: tuple[int, int]
) -> tuple[bytes, list[list[Any]]]:
    """A predicted map in which a match has the colour of the true segment."""
    own = segment_colors(compared.segments, categories)
    colors = dict(zip((s.id for s in compared.segments), own, strict=True))
    outcomes = compared.outcomes
    matched = outcomes.is_predicted & (outcomes.fate == Fate.MATCHED)
    pairs = zip(outcomes.segment_id[matched].tolist(), outcomes.other_id[matched].tolist(), strict=True)
    colors |= {predicted: true_colors[true] for predicted, true in pairs}
    return _layer(compared.columns, compared.segments, colors, outcomes, True, size)


def _layer(
    positions: NDArray[np.integer],
    segments: Sequence[Segment],
    colors: Mapping[int, Color],
    outcomes: Outcomes,
    is_predicted: bool,
    size: tuple[int, int],
) -> tuple[bytes, list[list[Any]]]:
    """A map as a PNG, and its segments: an index is twice the segment's number, and one more on its outline.

    Args:
        positions: [H, W], 0 is void, then the segments in the order of their ids.
    """
    own = outcomes.select(outcomes.is_predicted == is_predicted)
    kept = np.sort(np.argsort(-own.area, kind="stable")[:MAX_SEGMENTS])
    numbers = np.zeros(len(own.area) + 1, np.uint8)
    numbers[kept + 1] = np.arange(1, len(kept) + 1)
    by_id = {s.id: s for s in segments}
    palette: list[tuple[int, int, int, int]] = [VOID_COLOR, VOID_EDGE]
    entries = []
    for n in kept.tolist():
        segment = by_id[int(own.segment_id[n])]
        palette += [(*colors[segment.id], 158 if segment.is_thing else 122)]
        palette += [(255, 255, 255, 235 if segment.is_thing else 110)]
        entries.append(
            [
                segment.id,
                int(own.category[n]),
                int(own.area[n]),
                int(own.fate[n]),
                round(float(own.iou[n]), 3),
                int(own.other_category[n]),
                None if segment.score is None else round(segment.score, 3),
            ]
        )
    indices = _resize(numbers[positions], size)
    return palette_png((2 * indices + contours(indices)).astype(np.uint8), np.array(palette, np.uint8)), entries


def _heat(values: Tensor) -> tuple[bytes, tuple[float, float]]:
    """An attention map as a small PNG in viridis, and its range."""
    array = values.detach().cpu().float().numpy()
    low, high = value_range(array)
    scale = min(1.0, ATTENTION_SIDE / max(array.shape))
    height, width = (max(1, round(side * scale)) for side in array.shape)
    small = np.asarray(Image.fromarray(array).resize((width, height), Image.Resampling.BOX))
    levels = ((small - low) / (high - low) * (SHADES - 1)).round().clip(0, SHADES - 1).astype(np.uint8)
    colors = colorize(np.linspace(0, 1, SHADES)).round().astype(np.uint8)
    palette = np.concatenate([colors, np.full((SHADES, 1), 178, np.uint8)], axis=1)
    return palette_png(levels, palette), (round(low, 3), round(high, 3))


def _resize(values: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The nearest value, [H, W] → [*size]."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp) for old, new in zip(values.shape, size, strict=True)
    )
    return values[rows[:, None], columns]


def _webp(image: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(image)
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=78, method=4)
    return buffer.getvalue()
