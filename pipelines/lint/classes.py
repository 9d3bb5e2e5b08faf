"""How often each category occurs, and which occur too rarely."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from aunet.categories import Category
from aunet.data.defects import Defect
from aunet.segments import Segment

FEW = 10
"""Segments below which a class is called rare."""


class Tally:
    """Segments and pixels per category."""

    def __init__(self) -> None:
        self.segments, self.crowds, self.pixels, self.images = (Counter[int]() for _ in range(4))

    def add(self, segments: Sequence[Segment], areas: Mapping[int, int]) -> None:
        """Count the segments of one image. `areas` has the pixels of each segment id; one that is not in it has 0."""
        for segment in segments:
            self.segments[segment.category_id] += 1
            self.crowds[segment.category_id] += segment.is_crowd
            self.pixels[segment.category_id] += areas.get(segment.id, 0)
        self.images.update({segment.category_id for segment in segments})

    def rows(self, categories: Iterable[Category]) -> list[dict[str, Any]]:
        """`id name isthing segments crowds pixels images` of every category."""
        return [
            {
                "id": category.id,
                "name": category.name,
                "isthing": int(category.is_thing),
                "segments": self.segments[category.id],
                "crowds": self.crowds[category.id],
                "pixels": self.pixels[category.id],
                "images": self.images[category.id],
            }
            for category in categories
        ]


def class_defects(classes: list[dict[str, Any]], source_name: str) -> Iterator[Defect]:
    """Categories of which there is too little. `classes` is from `Tally.rows`, `source_name` names the JSON."""
    for row in classes:
        kind = "thing" if row["isthing"] else "stuff"
        category = f"{source_name}: category {row['id']} ({row['name']}, {kind})"
        count = row["segments"]
        if count < FEW:
            message = f"{category} has {count or 'no'} segment{'s' * (count != 1)}"
            yield Defect(rule="class-few" if count else "class-empty", message=message)
        if row["isthing"] and 0 < count == row["crowds"]:
            yield Defect(rule="class-all-crowd", message=f"{category}: all of its {count} segments are crowds")
