"""Copy-paste of things between images (Ghiasi et al., CVPR 2021), as a pure function of a random generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from aunet.data.sample import MIN_AREA, Instance, Sample, number_type

CHOSEN = 0.5
"""Chance of each thing of the other image to be pasted."""
LEAST_SHARE = 0.1
"""A thing of which less than this share is left becomes void, as one of fewer than `MIN_AREA` pixels does."""


def paste_things(sample: Sample, source: Sample, rng: Generator) -> Sample:
    """Paint a random half of the things of `source` over `sample`, pixel for pixel, without blending.

    Both are augmented already; of images of two sizes, what both have from the upper left corner on is used. Crowds are
    not pasted. What is pasted is visible as a whole: it covers segments and instances of `sample`. A thing, or crowd,
    that is nearly covered (`LEAST_SHARE`, `MIN_AREA`) is annotated no more: what is left of it is void.

    Args:
        source: not changed; its numbers of segments follow after those of `sample`.
    """
    height, width = np.minimum(sample.segment_map.shape, source.segment_map.shape)
    window = slice(height), slice(width)
    source_map = source.segment_map[window]
    areas = np.bincount(source_map.ravel(), minlength=len(source.segments) + 1)
    numbered = list(enumerate(source.segments, start=1))
    things = [(n, s) for n, s in numbered if s.is_thing and not s.is_crowd and areas[n] >= MIN_AREA]
    chosen = [entry for entry, drawn in zip(things, rng.random(len(things)) < CHOSEN, strict=True) if drawn]
    if not chosen:
        return sample
    count = len(sample.segments)
    renumbered = np.zeros(len(source.segments) + 1, number_type(count + len(chosen)))
    for new, (old, _) in enumerate(chosen, start=count + 1):
        renumbered[old] = new
    pasted = renumbered[source_map]
    covered = pasted > 0

    image, segment_map = sample.image.copy(), sample.segment_map.astype(renumbered.dtype)
    before = np.bincount(segment_map.ravel(), minlength=count + 1)
    image[window][covered] = source.image[window][covered]
    np.copyto(segment_map[window], pasted, where=covered)
    left = np.bincount(segment_map.ravel(), minlength=count + 1)[: count + 1]
    is_lost = np.zeros(count + len(chosen) + 1, np.bool_)
    is_lost[1 : count + 1] = [s.is_thing for s in sample.segments]
    is_lost[: count + 1] &= _is_nearly_covered(before, left)
    segment_map[is_lost[segment_map]] = 0

    areas = np.bincount(segment_map.ravel(), minlength=count + len(chosen) + 1).tolist()
    added = [s for _, s in chosen]
    segments = [replace(s, id=n, area=areas[n]) for n, s in enumerate([*sample.segments, *added], start=1)]
    instances = None
    if sample.instances is not None:
        instances = [
            *_left_over(sample.instances, window, covered),
            *(
                Instance(s.category_id, False, (segment_map == n).view(np.uint8))
                for n, s in enumerate(added, start=count + 1)
            ),
        ]
    return replace(sample, image=image, segment_map=segment_map, segments=segments, instances=instances)


def _is_nearly_covered(before: NDArray[Any], left: NDArray[Any]) -> NDArray[np.bool_]:
    """Of each number of pixels before and after."""
    return (left < before) & ((left < MIN_AREA) | (left < LEAST_SHARE * before))


def _left_over(
    instances: Sequence[Instance], window: tuple[slice, slice], covered: NDArray[np.bool_]
) -> list[Instance]:
    """The instances without what is covered, those that are lost left out."""
    masks = [instance.mask.copy() for instance in instances]
    for mask in masks:
        mask[window][covered] = 0
    before = np.array([np.count_nonzero(instance.mask) for instance in instances])
    is_lost = _is_nearly_covered(before, np.array([np.count_nonzero(mask) for mask in masks]))
    return [replace(i, mask=m) for i, m, lost in zip(instances, masks, is_lost, strict=True) if not lost]
