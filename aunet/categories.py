"""The categories of a data set, and the three numberings that a panoptic network needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from aunet.errors import InputError

VOID = -1
"""Semantic label of a pixel without annotation; ignored by the semantic loss."""

ThingLabels = Literal["one", "each"]
"""Whether the background branch has one label for all things (COCO) or one for each (Cityscapes)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Category:
    """One entry of a panoptic JSON's `categories`."""

    id: int
    """The data set's own number, as in `segments_info[].category_id`."""
    name: str
    is_thing: bool
    color: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Categories:
    """All categories of a data set, in the order of their ids.

    Three numberings meet here, and only here:

    * `category_id`: the data set's own, with gaps (COCO: 1 … 200);
    * detector label: 0 is background, 1 … T are the things, as torchvision counts;
    * semantic label: things first (one label for all, or one each), then the stuff; `VOID` where unknown.
    """

    entries: tuple[Category, ...]

    def __post_init__(self) -> None:
        ids = [c.id for c in self.entries]
        repeated = sorted({i for i in ids if ids.count(i) > 1})
        if repeated:
            raise InputError(f"categories: id {repeated[0]} is given twice; every category needs an id of its own")
        if not ids:
            raise InputError("categories: the list is empty; name at least one category")
        object.__setattr__(self, "entries", tuple(sorted(self.entries, key=lambda c: c.id)))

    @classmethod
    def from_json(cls, entries: Iterable[Mapping[str, Any]], source_name: str = "categories") -> Categories:
        """Read the `categories` list of a panoptic JSON. `source_name` names the file in messages."""
        read, problems = [], []
        for number, entry in enumerate(entries):
            missing = [key for key in ("id", "name", "isthing") if key not in entry]
            if missing:
                problems.append(
                    f"{source_name}: category {number} ({dict(entry)!r:.80}) lacks {', '.join(missing)}; add it"
                )
                continue
            color = entry.get("color")
            read.append(
                Category(
                    id=int(entry["id"]),
                    name=str(entry["name"]),
                    is_thing=bool(entry["isthing"]),
                    color=(int(color[0]), int(color[1]), int(color[2])) if color else None,
                )
            )
        if problems:
            raise InputError(problems)
        return cls(tuple(read))

    def to_json(self) -> list[dict[str, Any]]:
        """The inverse of `from_json`."""
        return [
            {"id": c.id, "name": c.name, "isthing": int(c.is_thing), **({"color": list(c.color)} if c.color else {})}
            for c in self.entries
        ]

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def by_id(self) -> dict[int, Category]:
        return {c.id: c for c in self.entries}

    @cached_property
    def by_name(self) -> dict[str, Category]:
        return {c.name: c for c in self.entries}

    @cached_property
    def things(self) -> tuple[Category, ...]:
        return tuple(c for c in self.entries if c.is_thing)

    @cached_property
    def stuff(self) -> tuple[Category, ...]:
        return tuple(c for c in self.entries if not c.is_thing)

    @cached_property
    def detector_labels(self) -> dict[int, int]:
        """category_id of a thing → detector label in 1 … T."""
        return {c.id: label for label, c in enumerate(self.things, start=1)}

    def semantic_labels(self, thing_labels: ThingLabels) -> dict[int, int]:
        """category_id → semantic label. Things have 0 ("one") or 0 … T-1 ("each"), stuff follows."""
        things = {c.id: 0 if thing_labels == "one" else n for n, c in enumerate(self.things)}
        offset = self.num_thing_labels(thing_labels)
        return things | {c.id: offset + n for n, c in enumerate(self.stuff)}

    def num_thing_labels(self, thing_labels: ThingLabels) -> int:
        """How many semantic labels the things have; those of the stuff start there."""
        return 1 if thing_labels == "one" else len(self.things)

    def num_semantic(self, thing_labels: ThingLabels) -> int:
        """Channels of the semantic logits."""
        return self.num_thing_labels(thing_labels) + len(self.stuff)
