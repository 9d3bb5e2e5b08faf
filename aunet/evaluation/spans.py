"""The panoptic quality of one model with intervals: how far other images of the same kind might change it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aunet.categories import Categories
from aunet.evaluation.outcomes import ImageCounts
from aunet.evaluation.resampling import LEAST_IMAGES, drawings, margin, num_showing, pq_of, terms

Span = tuple[float, float]
"""Both ends of an interval, in per cent."""
ROUNDING = 1e-9
"""Per cent, below which a width is that of the arithmetic."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Intervals of PQ; None for what is in fewer than `LEAST_IMAGES` images, or the same in all, such as none found."""

    PQ: Span | None
    PQ_th: Span | None
    PQ_st: Span | None
    per_class: tuple[Span | None, ...]
    """In the order of the categories."""


def spans(
    counts: ImageCounts, categories: Categories, *, samples: int = 1000, seed: int = 0, level: float = 0.95
) -> Spans:
    """Intervals by bootstrap over the images.

    Of a category that shows up in few images the interval is too narrow, and in a handful it has none: of one image all
    samples say the same. So do they of what is never found, which has none either. Two models on the same images are
    told apart much better by `comparison.compare` than by two such intervals.

    Args:
        counts: of N ≥ 1 images.
    """
    own = terms(counts)
    generator = np.random.default_rng(seed)
    drawn = [pq_of(weights @ own, categories) for weights in drawings(generator, len(own), samples)]
    observed, images = pq_of(own.sum(0)[None], categories), num_showing(own, categories)
    ends: list[list[Span | None]] = []
    for values, resampled, numbers in zip(observed, zip(*drawn, strict=True), images, strict=True):
        half = margin(np.concatenate(resampled), len(own), level)
        columns = zip(values[0].tolist(), half.tolist(), numbers.tolist(), strict=True)
        ends.append([_span(*column) for column in columns])
    (pq, things, stuff), per_class = ends
    return Spans(pq, things, stuff, tuple(per_class))


def _span(value: float, half: float, images: int) -> Span | None:
    return None if images < LEAST_IMAGES or half < ROUNDING else (max(value - half, 0.0), min(value + half, 100.0))
