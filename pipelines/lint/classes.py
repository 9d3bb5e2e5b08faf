"""How often each category occurs, and which occur too rarely."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from pipelines.lint.images import ImageLint
from pipelines.lint.json import LenientAnnotations
from pipelines.lint.rules import Defect

FEW = 10
"""Segments below which a class is called rare."""


class Tally:
    """Segments and pixels per category."""

    def __init__(self) -> None:
        self.segments, self.crowds, self.pixels, self.images = (Counter[int]() for _ in range(4))

    def add(self, seen: ImageLint) -> None:
        """Count one image."""
        for s in seen.record.segments:
            self.segments[s.category_id] += 1
            self.crowds[s.category_id] += s.is_crowd
            self.pixels[s.category_id] += seen.measured.get(s.id, (0,))[0]
        self.images.update({s.category_id for s in seen.record.segments})

    def rows(self, annotations: LenientAnnotations) -> list[dict[str, Any]]:
        """`id name isthing segments crowds pixels images` of every category."""
        return [
            {
                "id": c.id, "name": c.name, "isthing": int(c.is_thing), "segments": self.segments[c.id],
                "crowds": self.crowds[c.id], "pixels": self.pixels[c.id], "images": self.images[c.id],
            }
            for c in annotations.categories.values()
        ]  # fmt: skip


def class_defects(classes: list[dict[str, Any]], place: str) -> Iterator[Defect]:
    """Categories of which there is too little. `classes` is from `Tally.rows`, `place` names the JSON."""
    for row in classes:
        kind = "thing" if row["isthing"] else "stuff"
        who = f"{place}: category {row['id']} ({row['name']}, {kind})"
        if row["segments"] < FEW:
            rule = "class-few" if row["segments"] else "class-empty"
            yield Defect(
                rule=rule, message=f"{who} has {row['segments'] or 'no'} segment{'s' * (row['segments'] != 1)}"
            )
        if row["isthing"] and 0 < row["segments"] == row["crowds"]:
            yield Defect(rule="class-all-crowd", message=f"{who}: all of its {row['segments']} segments are crowds")
