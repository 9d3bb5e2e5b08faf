"""The panoptic quality of one model with intervals: how far other images of the same kind might change it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aunet.categories import Categories
from aunet.evaluation.outcomes import ImageCounts
from aunet.evaluation.resampling import drawings, margin, pq_of, terms

Span = tuple[float, float]
"""Both ends of an interval, in per cent."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Intervals of PQ."""

    PQ: Span
    PQ_th: Span
    PQ_st: Span
    per_class: tuple[Span | None, ...]
    """In the order of the categories; None where one is neither true nor predicted in any image."""


def spans(
    counts: ImageCounts, categories: Categories, *, samples: int = 1000, seed: int = 0, level: float = 0.95
) -> Spans:
    """Intervals by bootstrap over the images.

    Of a category that shows up in a handful of images the interval is too narrow. Two models on the same images are
    told apart much better by `comparison.compare` than by two such intervals.

    Args:
        counts: of N ≥ 1 images.
    """
    own = terms(counts)
    generator = np.random.default_rng(seed)
    drawn = [pq_of(weights @ own, categories) for weights in drawings(generator, len(own), samples)]
    ends: list[list[Span | None]] = []
    for observed, resampled in zip(pq_of(own.sum(0)[None], categories), zip(*drawn, strict=True), strict=True):
        half = margin(np.concatenate(resampled), len(own), level)
        ends.append([_span(float(v), float(h)) for v, h in zip(observed[0], half, strict=True)])
    (pq, things, stuff), per_class = ends
    assert pq and things and stuff  # groups are never NaN
    return Spans(pq, things, stuff, tuple(per_class))


def _span(value: float, half: float) -> Span | None:
    return None if np.isnan(value) else (max(value - half, 0.0), min(value + half, 100.0))
