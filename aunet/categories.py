"""The categories of a data set, and the three numberings that a panoptic network needs."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from aunet.errors import InputError
from aunet.names import printable

VOID = -1
"""Semantic label of a pixel without annotation; ignored by the semantic loss."""

_HEX_COLOR = re.compile(r"#?([0-9a-fA-F]{6})(?:[0-9a-fA-F]{2})?")

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
        repeated = [category_id for category_id, count in Counter(c.id for c in self.entries).items() if count > 1]
        if repeated:
            raise InputError(f"categories: id {min(repeated)} is given twice; every category needs an id of its own")
        if not self.entries:
            raise InputError("categories: the list is empty; name at least one category")
        object.__setattr__(self, "entries", tuple(sorted(self.entries, key=lambda c: c.id)))

    @classmethod
    def from_json(cls, entries: Iterable[Mapping[str, Any]], source_name: str = "categories") -> Categories:
        """Read a `categories` list that `to_json` wrote. `source_name` names the file in messages.

        Raises:
            InputError: every entry that lacks something, or has something of the wrong type.
        """
        read, problems = [], []
        for number, entry in enumerate(entries):
            given = entry if isinstance(entry, Mapping) else {}
            shown = f"{source_name}: category {number} ({printable(f'{entry!r:.80}')})"
            if missing := [key for key in ("id", "name", "isthing") if key not in given]:
                problems.append(f"{shown} lacks {', '.join(missing)}; add it")
                continue
            category_id, name, is_thing = given["id"], given["name"], read_flag(given["isthing"])
            if type(category_id) is not int or not 0 <= category_id < 2**63:
                problems.append(f"{shown}: id is not a whole number in 0 … 2**63 - 1; correct it")
            elif not isinstance(name, str) or not name or printable(name) != name:
                problems.append(f"{shown}: name is not a text that can be printed; correct it")
            elif is_thing is None:
                problems.append(f"{shown}: isthing is neither 0 nor 1; correct it")
            else:
                color = read_color(given.get("color"))
                read.append(Category(id=category_id, name=name, is_thing=is_thing, color=color))
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
    def index_of(self) -> dict[int, int]:
        """category_id → index in `entries`."""
        return {c.id: n for n, c in enumerate(self.entries)}

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


def read_flag(value: object) -> bool | None:
    """0, 1, false and true as JSON has them; None for anything else, such as a text."""
    return bool(value) if value in (0, 1) else None


def read_color(value: object) -> tuple[int, int, int] | None:
    """[red, green, blue] in 0 … 255 or "#rrggbb", with an alpha value or not; None for anything else."""
    if isinstance(value, str) and (match := _HEX_COLOR.fullmatch(value.strip())):
        red, green, blue = bytes.fromhex(match[1])
        return red, green, blue
    if not isinstance(value, list | tuple) or len(value) not in (3, 4):
        return None
    numbers = [n for n in value[:3] if isinstance(n, int | float) and n in range(256)]
    return (int(numbers[0]), int(numbers[1]), int(numbers[2])) if len(numbers) == 3 else None


def difference(one: Iterable[Category], other: Iterable[Category]) -> str:
    """Where two lists mean something else to a network; empty where they mean the same. Colours do not count."""
    own, others = (sorted((c.id, c.name, c.is_thing) for c in categories) for categories in (one, other))
    if own == others:
        return ""
    odd = min(set(own) ^ set(others), default=None)
    normal, others_normal = ([(i, unicodedata.normalize("NFC", n), t) for i, n, t in row] for row in (own, others))
    alike = "; names differ only in Unicode normalisation (NFC, NFD)" if normal == others_normal else ""
    return f"first in (id, name, is_thing) = {odd}{alike}"
