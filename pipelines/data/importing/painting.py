"""Regions to one panoptic map: every pixel belongs to the region that is painted last, by stated rules.

The order of painting is by depth, then by layer (stuff, crowds, things), then, within a layer, as `Uppermost` says. All
stuff of one category is one segment. Regions without a visible pixel are dropped. Everything that is lost is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aunet.categories import Categories
from aunet.data.coco_panoptic import measure_segments
from aunet.segments import Segment
from pipelines.data.importing.record import VOID_CATEGORY, Drawing, Region, Uppermost
from pipelines.data.importing.region_masks import area_of, pixels_of

_SPREAD = 0x9E3779
"""Odd, so that n · _SPREAD mod 256³ differs for every n: neighbouring numbers get colours that differ much."""


@dataclass(frozen=True, slots=True)
class Painted:
    """A panoptic map and its segments."""

    ids: NDArray[np.int32]
    """[H, W]; 0 is void."""
    segments: tuple[Segment, ...]
    changed: Counter[str]


def paint(
    drawing: Drawing, categories: Categories, on_top: Uppermost = "later", background: int | None = None
) -> Painted:
    """Paint all regions.

    Args:
        drawing: its category ids are of `categories`, or `VOID_CATEGORY`.
        on_top: which of two regions of one depth and layer hides the other.
        background: category of the pixels that no region covers; None: they are void.
    """
    changed = Counter(drawing.changed)
    width, height = drawing.size
    labels = np.zeros((height, width), dtype=np.int32) if drawing.base is None else drawing.base.astype(np.int32)
    owners: list[tuple[int, bool]] = [(VOID_CATEGORY, False), *drawing.base_regions]
    areas = [1] * len(owners)
    for region in _in_order(drawing.regions, categories, on_top):
        mask = pixels_of(region.mask)
        below = np.bincount(labels[mask], minlength=len(owners))
        for number in np.flatnonzero(below[1:]) + 1:
            _count_covered(owners[number][0], region, int(below[number]), categories, changed)
        labels[mask] = len(owners)
        owners.append((region.category_id, region.is_crowd))
        areas.append(area_of(region.mask))

    visible = np.bincount(labels.ravel(), minlength=len(owners))
    stuff_ids: dict[int, int] = {}
    id_of = np.zeros(len(owners), dtype=np.int32)
    meaning: dict[int, tuple[int, bool]] = {}
    for number, (category_id, is_crowd) in enumerate(owners):
        if number == 0:
            if background is None:
                continue
            category_id = background
        elif not visible[number]:
            changed["regions-hidden" if areas[number] else "regions-empty"] += 1
            continue
        elif category_id == VOID_CATEGORY:
            changed["regions-void"] += number > len(drawing.base_regions)
            continue
        is_thing = categories.by_id[category_id].is_thing
        segment_id = (len(meaning) + 1) * _SPREAD % 256**3
        if not is_thing:
            changed["crowd-stuff"] += is_crowd
            segment_id = stuff_ids.setdefault(category_id, segment_id)
        id_of[number] = segment_id
        meaning[segment_id] = category_id, is_crowd and is_thing
    ids = id_of[labels]
    segments = []
    for segment_id, (area, bbox) in measure_segments(ids).items():
        category_id, is_crowd = meaning[segment_id]
        is_thing = categories.by_id[category_id].is_thing
        segments.append(Segment(segment_id, category_id, is_thing, area, is_crowd=is_crowd, bbox=bbox))
    return Painted(ids, tuple(segments), +changed)


def _in_order(regions: Sequence[Region], categories: Categories, on_top: Uppermost) -> list[Region]:
    """The regions as they are painted: what is hidden first."""

    def depth(region: Region) -> tuple[float, int, int]:
        is_thing = region.category_id == VOID_CATEGORY or categories.by_id[region.category_id].is_thing
        layer = 0 if not is_thing else 1 if region.is_crowd else 2
        return region.z, layer, -area_of(region.mask) if on_top == "smaller" else 0

    return sorted(regions, key=depth)


def _count_covered(below: int, region: Region, pixels: int, categories: Categories, changed: Counter[str]) -> None:
    """Count the pixels of a region that another one hides; those of one stuff category stay in one segment."""
    if below == VOID_CATEGORY:
        return
    if categories.by_id[below].is_thing:
        changed["thing-pixels-covered"] += pixels
    elif below != region.category_id:
        changed["stuff-pixels-covered"] += pixels
