"""COCO instances, alone or with COCO-Stuff as JSON or pixel maps: things over stuff, smaller things over larger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from aunet.categories import Categories, Category, read_color, read_flag
from aunet.data.cityscapes import image_id_of
from aunet.data.coco_entries import entry_id, malformed, whole_number, wrong_keys
from aunet.errors import InputError
from aunet.names import printable
from pipelines.data.importing.buckets import Buckets
from pipelines.data.importing.category_choice import CategoryChoice
from pipelines.data.importing.palette import read_palette
from pipelines.data.importing.record import Drawing, ImportItem, Region, Size, Uppermost
from pipelines.data.importing.region_masks import coco_segmentation
from pipelines.data.importing.value_maps import read_values
from pipelines.data.json_stream import stream_json
from pipelines.data.spill import Spilled
from pipelines.store import storage
from pipelines.store.listing import Listing

OTHER = "other"
"""COCO-Stuff's name of the pixels of things."""
KEPT_KEYS = ("id", "category_id", "segmentation", "iscrowd", "ignore")
UNLABELLED = {0: 0, 1: 255}
"""Offset of pixel maps → their value of void."""
CURE = "correct it in the file"


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelMaps:
    """A folder of COCO-Stuff's PNGs."""

    uri: str
    offset: int
    """Category id less value: 0 or 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoDrawer:
    """Draws the annotations of one image."""

    categories: Categories
    own_id: Mapping[int, int]
    """Category id of the source → of `categories`; those that are left out are missing."""
    known_ids: frozenset[int]
    """All category ids of the source."""
    maps: PixelMaps | None = None
    on_top: Uppermost = "smaller"
    upright: bool = False

    def draw(self, item: ImportItem, size: Size) -> Drawing:
        """The regions of the image's entries, above its pixel map."""
        drawing = Drawing(size=(item.entries["width"], item.entries["height"]))
        if self.maps is not None:
            self._draw_map(drawing, self.maps, item.entries["map"])
        for entry in item.entries["annotations"]:
            try:
                region = self._region(entry, drawing)
            except ValueError as error:
                raise InputError(f"{item.file_name}: annotation {entry.get('id')!r:.40}: {error}; {CURE}") from None
            if region is not None:
                drawing.regions.append(region)
        return drawing

    def _region(self, entry: Mapping[str, Any], drawing: Drawing) -> Region | None:
        """The region of one annotation; None where it has none."""
        category_id = whole_number(entry.get("category_id"))
        is_crowd, is_ignored = (read_flag(entry.get(key) or 0) for key in ("iscrowd", "ignore"))
        if category_id not in self.known_ids:
            raise ValueError(f"category_id {entry.get('category_id')!r:.40} is not in categories")
        if is_crowd is None or is_ignored is None:
            raise ValueError("iscrowd or ignore is neither 0 nor 1")
        own_id = self.own_id.get(category_id or 0)
        if own_id is None:
            drawing.changed["shapes-left-out"] += 1
            return None
        if not entry.get("segmentation"):
            drawing.changed["shapes-without-area"] += 1
            return None
        mask, is_cut = coco_segmentation(entry["segmentation"], drawing.size)
        drawing.changed["regions-clipped"] += is_cut
        drawing.changed["ignored-as-crowd"] += is_ignored and not is_crowd
        return Region(category_id=own_id, mask=mask, is_crowd=is_crowd or is_ignored)

    def _draw_map(self, drawing: Drawing, maps: PixelMaps, name: str) -> None:
        uri = storage.join(maps.uri, name)
        values = read_values(uri)
        height, width = values.shape
        if (width, height) != drawing.size:
            expected = f"{drawing.size[0]}×{drawing.size[1]}"
            raise InputError(f"{uri}: {width}×{height}, but its image is {expected}; fetch the map again")
        drawing.base = np.zeros(values.shape, dtype=np.int32)
        for value in np.unique(values).tolist():
            category_id = value + maps.offset
            own_id = self.own_id.get(category_id)
            category = None if own_id is None else self.categories.by_id[own_id]
            if category is not None and not category.is_thing:
                drawing.base_regions.append((category.id, False))
                drawing.base[values == value] = len(drawing.base_regions)
            elif value != UNLABELLED[maps.offset] and category_id not in self.known_ids:
                drawing.changed["pixels-without-category"] += int((values == value).sum())


class Coco:
    """Images of an instances JSON.

    Args:
        images_uri: folder of the images.
        instances_uri: the JSON.
        choice: of the categories.
        stuff_uri: COCO-Stuff's JSON.
        maps: COCO-Stuff's PNGs; the annotations of `stuff_uri` are then not used, its categories are.
        palette: names of the values of `maps`, such as COCO-Stuff's labels.txt.

    Raises:
        InputError: a file cannot be read, or the maps' values have no names.
    """

    def __init__(
        self,
        images_uri: str,
        instances_uri: str,
        choice: CategoryChoice,
        *,
        stuff_uri: str | None = None,
        maps: PixelMaps | None = None,
        palette: str | None = None,
    ) -> None:
        self.images_uri, self.instances_uri, self.changed = images_uri, instances_uri, Counter[str]()
        self.stuff_uri = None if maps is not None else stuff_uri
        self.buckets: Buckets | None = None
        self.images = Listing(images_uri, Spilled)
        self.map_listing = None if maps is None else Listing(maps.uri)
        self.folders = (images_uri,) if maps is None else (images_uri, maps.uri)
        things = _categories(instances_uri, are_things=True)
        stuff = {n: c for n, c in _stuff(stuff_uri, maps, palette, choice).items() if n not in things}
        used = things | {n: c for n, c in stuff.items() if c.name != OTHER}
        categories = choice.chosen(_distinct(used, instances_uri))
        own_id = {n: categories.by_name[c.name].id for n, c in used.items() if c.name in categories.by_name}
        self.drawer = CocoDrawer(categories=categories, own_id=own_id, known_ids=frozenset(things | stuff), maps=maps)

    def items(self) -> Iterator[ImportItem]:
        """Every image of the JSON; in an order that depends on the ids alone."""
        if self.buckets is None:
            self.buckets = self._filled()
        self.changed = Counter()
        for image_id, records in self.buckets.groups():
            images = [record for kind, record in records if kind == "image"]
            annotations = [record for kind, record in records if kind == "annotation"]
            if not images:
                self.changed["annotations-orphan"] += len(annotations)
            for image in images:
                yield self._item(image_id, image, annotations)

    def _item(self, image_id: Any, image: Mapping[str, Any], annotations: list[Any]) -> ImportItem:
        name = image["file_name"]
        item_id = image_id if isinstance(image_id, int) else image_id_of(image_id)
        if problem := image.get("problem"):
            return ImportItem(image_uri=self.instances_uri, file_name=name, image_id=item_id, problem=problem)
        entries = {"width": image["width"], "height": image["height"], "annotations": annotations}
        uri = storage.join(self.images_uri, name)
        file = self.images.files.get(name)
        files = () if file is None else (file,)
        if self.map_listing is None:
            return ImportItem(image_uri=uri, file_name=name, image_id=item_id, entries=entries, sources=files)
        map_name = str(PurePosixPath(name).with_suffix(".png"))
        if map_name not in self.map_listing.names:
            problem = f"{name}: its pixel map {self.map_listing.missing(map_name)}; add it"
            return ImportItem(image_uri=uri, file_name=name, image_id=item_id, problem=problem)
        entries["map"] = map_name
        files = (*files, self.map_listing.files[map_name])
        return ImportItem(image_uri=uri, file_name=name, image_id=item_id, entries=entries, sources=files)

    def _filled(self) -> Buckets:
        """All images and annotations, by image.

        Raises:
            InputError: an entry lacks what it must have.
        """
        uris = [uri for uri in (self.instances_uri, self.stuff_uri) if uri is not None]
        buckets = Buckets(sum(_num_bytes(uri) for uri in uris))
        for uri in uris:
            buckets.fill(_records(uri, with_images=uri == self.instances_uri))
        return buckets


def _num_bytes(uri: str) -> int:
    with storage.open_file(uri) as file:
        return file.size()


def _records(uri: str, *, with_images: bool) -> Iterator[tuple[Any, Any]]:
    """(image id, ("image" or "annotation", entry)) of a JSON."""
    numbers: Counter[str] = Counter()
    for key, entry in stream_json(uri, ("images", "annotations") if with_images else ("annotations",)):
        where = f"{uri}: {key}[{numbers[key]}]"
        numbers[key] += 1
        image_id = entry_id(entry, "id" if key == "images" else "image_id")
        wrong = [] if image_id is not None else ["id" if key == "images" else "image_id"]
        if key == "images":
            wrong += wrong_keys(entry, {"file_name": PurePosixPath, "height": int, "width": int})
        problem = f"{where}: {malformed(wrong, entry)}; {CURE}" if wrong else ""
        if problem and (key != "images" or image_id is None):
            raise InputError(problem)
        if problem:
            yield image_id, ("image", {"file_name": printable(str(entry.get("file_name"))), "problem": problem})
        elif key == "images":
            size = {name: whole_number(entry[name]) for name in ("width", "height")}
            yield image_id, ("image", {"file_name": entry["file_name"], **size})
        else:
            yield image_id, ("annotation", {name: entry[name] for name in KEPT_KEYS if name in entry})


def _categories(uri: str, *, are_things: bool) -> dict[int, Category]:
    """The categories of a JSON by id.

    Raises:
        InputError: one lacks id or name, or an id is given twice.
    """
    categories: dict[int, Category] = {}
    problems = []
    for _, listed in stream_json(uri, values=("categories",)):
        for number, entry in enumerate(listed if isinstance(listed, list) else [listed]):
            category_id = entry_id(entry, "id")
            if not isinstance(category_id, int) or wrong_keys(entry, {"name": str}):
                problems.append(f"{uri}: categories[{number}]: {malformed(['id', 'name'], entry)}; {CURE}")
            elif category_id in categories:
                problems.append(f"{uri}: categories[{number}]: id {category_id} is given before; {CURE}")
            else:
                flag = read_flag(entry.get("isthing"))
                is_thing, color = are_things if flag is None else flag, read_color(entry.get("color"))
                categories[category_id] = Category(id=category_id, name=entry["name"], is_thing=is_thing, color=color)
        break
    if problems:
        raise InputError(problems)
    if not categories:
        raise InputError(f"{uri}: no list 'categories' with entries; this is not the instances JSON of a data set")
    return categories


def _stuff(
    stuff_uri: str | None, maps: PixelMaps | None, palette: str | None, choice: CategoryChoice
) -> dict[int, Category]:
    """The categories of COCO-Stuff by id, from the first source that is given.

    Raises:
        InputError: maps have values that nothing names.
    """
    if stuff_uri is not None:
        return _categories(stuff_uri, are_things=False)
    if palette is not None:
        named = {entry.value: entry.name for entry in read_palette(palette) if not entry.is_void}
        return {n: Category(id=n, name=name, is_thing=False) for n, name in named.items() if n is not None}
    if maps is None:
        return {}
    if (listed := choice.from_file()) is not None:
        return {category.id: category for category in listed.stuff}
    cure = "give --stuff-json, --categories or --palette labels.txt as well"
    raise InputError(f"{maps.uri}: what do its values mean? {cure}")


def _distinct(source: Mapping[int, Category], uri: str) -> Categories:
    """The categories, each name once."""
    counts = Counter(category.name for category in source.values())
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise InputError(f"{uri}: {printable(name)} is the name of two categories; {CURE}" for name in repeated)
    return Categories(tuple(source.values()))
