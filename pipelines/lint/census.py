"""What a data set consists of, counted image by image: sizes, objects, categories. Memory does not grow with it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aunet.categories import Category
from aunet.segments import NOT_GIVEN, Segment
from pipelines.lint.classes import Tally

PER_OCTAVE = 16
"""Bins of a `Spread` between a value and twice that value: figures are right to 2 %."""


class Spread:
    """How positive numbers are spread, in bins of equal ratio."""

    def __init__(self) -> None:
        self.bins: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """Count one number above 0."""
        self.bins[round(PER_OCTAVE * math.log2(value))] += 1

    def merge(self, other: Spread) -> None:
        """Count all that another has counted."""
        self.bins.update(other.bins)

    @property
    def total(self) -> int:
        """Numbers that were counted."""
        return self.bins.total()

    def quantile(self, share: float) -> float:
        """The number below which this share of all numbers is, 0 … 1.

        Raises:
            ValueError: nothing was counted.
        """
        wanted, seen = share * self.total, 0
        for number, count in sorted(self.bins.items()):
            seen += count
            if seen >= wanted:
                return 2 ** (number / PER_OCTAVE)
        raise ValueError("nothing was counted")

    def below(self, limit: float) -> int:
        """How many numbers are smaller than `limit`, to the width of a bin."""
        return sum(count for number, count in self.bins.items() if 2 ** (number / PER_OCTAVE) < limit)


@dataclass
class Census:
    """The counts of one split."""

    images: int = 0
    short_sides: Spread = field(default_factory=Spread)
    """Pixels of each image's shorter side."""
    aspects: Spread = field(default_factory=Spread)
    """Width / height of each image."""
    pixels: Spread = field(default_factory=Spread)
    """Of each image."""
    things: dict[int, Spread] = field(default_factory=dict)
    """category_id → sides of its objects, √(width · height) of the box, in units of `add`. No crowds."""
    stuff_areas: Spread = field(default_factory=Spread)
    """Pixels of each stuff segment."""
    most_things: int = 0
    """Objects of one image."""
    tally: Tally = field(default_factory=Tally)

    def add(self, height: int, width: int, segments: Sequence[Segment], unit: float | None = None) -> None:
        """Count an image of (height, width) pixels; segments without area or box count as segments only.

        Args:
            unit: pixels of the image in which the sides of its objects are counted; None: its shorter side.
        """
        unit = unit or min(height, width)
        self.images += 1
        self.short_sides.add(min(height, width))
        self.aspects.add(width / height)
        self.pixels.add(width * height)
        self.tally.add(segments, {s.id: s.area for s in segments if s.area != NOT_GIVEN})
        objects = [s for s in segments if s.is_thing and not s.is_crowd]
        self.most_things = max(self.most_things, len(objects))
        for segment in objects:
            box_width, box_height = segment.bbox[2:]
            if box_width > 0 and box_height > 0:
                spread = self.things.setdefault(segment.category_id, Spread())
                spread.add(math.sqrt(box_width * box_height) / unit)
        for segment in segments:
            if not segment.is_thing and segment.area > 0:
                self.stuff_areas.add(segment.area)

    @property
    def all_things(self) -> Spread:
        """The sides of the objects of all categories."""
        together = Spread()
        for spread in self.things.values():
            together.merge(spread)
        return together

    def rows(self, categories: Iterable[Category]) -> list[dict[str, Any]]:
        """`id name isthing segments crowds pixels images` of every category."""
        return self.tally.rows(categories)


def vanishing(census: Census, categories: Iterable[Category], limits: Mapping[str, float]) -> list[dict[str, Any]]:
    """How many objects of each kind of thing are small.

    Args:
        limits: name → side; √(width · height) of the box is compared with them, in units of the census.

    Returns:
        `id name objects median` (None without objects) and the names of `limits`.
    """
    rows = []
    for category in categories:
        if category.is_thing:
            spread = census.things.get(category.id, Spread())
            median = spread.quantile(0.5) if spread.total else None
            small = {name: spread.below(limit) for name, limit in limits.items()}
            rows.append({"id": category.id, "name": category.name, "objects": spread.total, "median": median, **small})
    return rows
