"""Mapillary Vistas v1.2 and v2.0 as distributed: `config.json`, and panoptic JSON or 16-bit instance PNGs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aunet.categories import Categories, Category, read_color
from aunet.documents import read_object
from aunet.errors import InputError
from aunet.names import printable
from pipelines.data.importing.category_choice import CategoryChoice
from pipelines.data.importing.masks import MaskDrawer, Masks
from pipelines.data.importing.panoptic_json import PanopticNames
from pipelines.data.importing.record import Drawing, ImportItem, Reader, Size
from pipelines.data.importing.value_maps import ValueTable, read_values, regions_of
from pipelines.store import storage
from pipelines.store.listing import Listing

INSTANCES_PER_LABEL = 256
"""A pixel is 256 · label + number of the instance."""
_CONFIG = re.compile(r"config(_v[\d.]+)?\.json")
_PANOPTIC = re.compile(r"(v[\d.]+/)?panoptic/panoptic(_\d+)?\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class VistasDrawer(MaskDrawer):
    """Draws a 16-bit PNG of labels and instances."""

    def draw(self, item: ImportItem, size: Size) -> Drawing:
        """The regions of one image."""
        values = read_values(storage.join(self.semantic_uri, item.entries[0]))
        labels = values // INSTANCES_PER_LABEL
        drawn = regions_of(labels, values % INSTANCES_PER_LABEL + 1, self.table, self.categories)
        height, width = values.shape
        return Drawing(size=(width, height), base=drawn.base, base_regions=drawn.regions, changed=drawn.changed)


def open_vistas(root: str, choice: CategoryChoice, split: str) -> Reader:
    """The split `training` (for `train`) or `validation` (for `val`) of the newest version below `root`.

    The panoptic JSON is used where it exists, which knows crowds; else the instance PNGs: every value is a segment.

    Raises:
        InputError: a file or folder is missing, or a background is named for instance PNGs.
    """
    folder = storage.join(root, {"train": "training", "val": "validation"}.get(split, split))
    listing = Listing(folder)
    images = storage.join(folder, "images")
    if panoptic := max((n for n in listing.names if _PANOPTIC.fullmatch(n)), default=None):
        uri = storage.join(folder, panoptic)
        return PanopticNames(images, uri, choice, maps_uri=storage.parent(uri))
    instances = max((n.rsplit("/", 1)[0] for n in listing.names if "instances/" in n), default=None)
    configs = [n for n in Listing(root).names if _CONFIG.fullmatch(n)]
    if instances is None or not configs:
        raise InputError(f"{root}: needs {split}/…/panoptic/panoptic_*.json, or …/instances/*.png and config.json")
    if choice.background is not None:
        raise InputError(
            f"--background {printable(choice.background)}: the PNGs in {storage.join(folder, instances)} have a label "
            "for every pixel, so that none would be background; leave it out"
        )
    version = instances.split("/")[0] if "/" in instances else ""
    config = next((n for n in configs if version and version in n), max(configs))
    categories, table = _labels(storage.join(root, config))
    chosen = choice.chosen(categories)
    own = {
        value: chosen.by_name[categories.by_id[i].name].id
        for value, i in table.items()
        if categories.by_id[i].name in chosen.by_name
    }
    void = frozenset(range(INSTANCES_PER_LABEL)) - set(own)
    drawer = VistasDrawer(
        semantic_uri=storage.join(folder, instances),
        instances_uri=None,
        table=ValueTable(category_of=own, void=void),
        categories=chosen,
        components=True,
    )
    return Masks(images, drawer)


def _labels(uri: str) -> tuple[Categories, dict[int, int]]:
    """The evaluated labels of a config, ids by position from 1, as in the panoptic JSON; and label → category id."""
    labels = read_object(storage.read_bytes(uri), uri).get("labels")
    if not isinstance(labels, list) or not labels:
        raise InputError(f"{uri}: no list 'labels'; use the file as distributed")
    read: list[Category] = []
    for number, label in enumerate(labels):
        given: Mapping[str, Any] = label if isinstance(label, Mapping) else {}
        name, has_instances, is_used = given.get("name"), given.get("instances"), given.get("evaluate", True)
        if not isinstance(name, str) or not isinstance(has_instances, bool) or not isinstance(is_used, bool):
            raise InputError(
                f"{uri}: labels[{number}]: name, instances or evaluate missing; use the file as distributed"
            )
        if is_used:
            color = read_color(given.get("color"))
            read.append(Category(id=number + 1, name=name, is_thing=has_instances, color=color))
    return Categories(tuple(read)), {category.id - 1: category.id for category in read}
