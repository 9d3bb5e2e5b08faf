"""A segment of a panoptic map, as fusion makes it, annotations give it and JSON writes it. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

NOT_GIVEN = -1
"""Area, and all four numbers of a box, where nobody has counted the pixels."""

Box = tuple[int, int, int, int]
"""COCO's (x, y, width, height) in pixels."""
NO_BOX: Box = (NOT_GIVEN, NOT_GIVEN, NOT_GIVEN, NOT_GIVEN)


@dataclass(frozen=True, slots=True)
class Segment:
    """One entry of `segments_info`."""

    id: int
    category_id: int
    is_thing: bool
    area: int
    """Pixels."""
    score: float | None = None
    """Confidence of the instance; None for stuff and for ground truth."""
    is_crowd: bool = False
    bbox: Box = NO_BOX

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), _values(self)  # faster than a dataclass pickles itself

    def to_json(self) -> dict[str, Any]:
        """The entry as COCO writes it, and its score where there is one, to four digits."""
        entry = {"id": self.id, "category_id": self.category_id, "isthing": int(self.is_thing)}
        entry |= {"iscrowd": int(self.is_crowd), "area": self.area}
        return entry if self.score is None else entry | {"score": round(self.score, 4)}


_values = attrgetter(*Segment.__dataclass_fields__)
