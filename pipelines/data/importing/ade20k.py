"""ADE20K as the scene parsing challenge distributes it: `ADEChallengeData2016`, and its instance annotations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aunet.categories import Categories, Category
from aunet.errors import InputError
from pipelines.data.importing.category_choice import CategoryChoice
from pipelines.data.importing.masks import MaskDrawer, Masks
from pipelines.data.importing.record import Drawing, ImportItem, Size
from pipelines.data.importing.value_maps import ValueTable, read_values, regions_of
from pipelines.store import storage
from pipelines.store.listing import Listing

_OBJECT = re.compile(r"(\d{1,9})\s*\t(?:[^\t]*\t){3,4}([^\t]+)")
"""objectInfo150.txt: Idx, Ratio, Train, Val, Name; copies of it have Stuff before the name."""
_MAPPING = re.compile(r"(\d{1,9})\s+(\d{1,9})(\s.*)?")
"""categoryMapping.txt: number among the 100 categories with instances, number among the 150, name."""
INSTANCE_SHIFT = 1 << 8


@dataclass(frozen=True, slots=True, kw_only=True)
class AdeDrawer(MaskDrawer):
    """Draws the stuff of the semantic mask, and above it the objects of the instance mask."""

    thing_of: Mapping[int, int]
    """Value of the red channel → category id."""

    def draw(self, item: ImportItem, size: Size) -> Drawing:
        """The regions of one image: an object's pixels have its category, whatever the semantic mask says there."""
        semantic = read_values(storage.join(self.semantic_uri, item.entries[0]))
        uri = storage.join(self.instances_uri or "", item.entries[1])
        packed = read_values(uri, is_color=True)
        if packed.shape != semantic.shape:
            raise InputError(
                f"{uri}: {packed.shape[::-1]}, but the semantic mask has {semantic.shape[::-1]}; unpack both"
            )
        red, green = packed % 256, packed // 256 % 256
        value_of = {category_id: value for value, category_id in self.table.category_of.items()}
        instances = np.zeros_like(semantic)
        changed: Counter[str] = Counter()
        for value in np.unique(red).tolist():
            is_here = (red == value) & (green > 0)
            category_id = self.thing_of.get(value)
            if category_id is not None:
                semantic[is_here] = value_of[category_id]
                instances[is_here] = value * INSTANCE_SHIFT + green[is_here]
            elif value and is_here.any():
                changed["pixels-without-category"] += int(is_here.sum())
        drawn = regions_of(semantic, instances, self.table, self.categories)
        height, width = semantic.shape
        return Drawing(
            size=(width, height), base=drawn.base, base_regions=drawn.regions, changed=changed + drawn.changed
        )


def open_ade20k(root: str, choice: CategoryChoice, split: str) -> Masks:
    """The split `training` (for `train`) or `validation` (for `val`).

    Raises:
        InputError: a file or folder is missing.
    """
    folder = {"train": "training", "val": "validation"}.get(split, split)
    names = {name for name in Listing(root).names if "/" not in name}
    missing = [name for name in ("objectInfo150.txt", "categoryMapping.txt") if name not in names]
    if missing:
        raise InputError(
            f"{root}: no {name}; both challenges, scene parsing and instances, have to be unpacked here"
            for name in missing
        )
    objects = _pairs(storage.join(root, "objectInfo150.txt"), _OBJECT)
    mapping = _pairs(storage.join(root, "categoryMapping.txt"), _MAPPING)
    things = {int(scene): instance for instance, scene in mapping.items()}
    if unknown := sorted(set(things) - set(objects)):
        raise InputError(
            f"{root}: categoryMapping.txt names {unknown[0]}, which objectInfo150.txt lacks; unpack both again"
        )
    source = Categories(tuple(Category(id=n, name=name, is_thing=n in things) for n, name in objects.items()))
    categories = choice.chosen(source)
    own = {c.id: categories.by_name[c.name].id for c in source.entries if c.name in categories.by_name}
    drawer = AdeDrawer(
        semantic_uri=storage.join(root, "annotations", folder),
        instances_uri=storage.join(root, "annotations_instance", folder),
        table=ValueTable(category_of=own, void=frozenset(objects) - set(own), nothing=frozenset({0})),
        categories=categories,
        thing_of={instance: own[scene] for scene, instance in things.items() if scene in own},
    )
    return Masks(storage.join(root, "images", folder), drawer)


def _pairs(uri: str, pattern: re.Pattern[str]) -> dict[int, str]:
    """Number → text of the lines of a table; its heading is skipped."""
    lines = storage.read_bytes(uri).decode("utf-8", errors="replace").splitlines()
    matches = [match for line in lines if (match := pattern.fullmatch(line.strip()))]
    if not matches:
        raise InputError(f"{uri}: no line such as in the file as distributed; unpack it again")
    return {int(match[1]): match[2].strip() for match in matches}
