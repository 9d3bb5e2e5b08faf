"""COCO instances, alone or with COCO-Stuff as JSON or pixel maps: things over stuff, smaller things over larger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from aunet.categories import Categories, read_flag
from aunet.data.cityscapes import image_id_of
from aunet.data.coco_entries import entry_id, malformed, whole_number, wrong_keys
from aunet.errors import InputError
from aunet.names import printable
from pipelines.data.importing.buckets import Buckets
from pipelines.data.importing.category_choice import CategoryChoice
from pipelines.data.importing.coco_categories import CURE, source_categories
from pipelines.data.importing.cvat_coco import is_cvat_mask, means_crowds
from pipelines.data.importing.record import Drawing, ImportItem, Region, Size, Uppermost
from pipelines.data.importing.region_masks import coco_segmentation, drawable
from pipelines.data.importing.value_maps import read_values
from pipelines.data.json_stream import stream_json
from pipelines.data.spill import Spilled
from pipelines.store import storage
from pipelines.store.listing import Listing

KEPT_KEYS = ("id", "category_id", "segmentation", "iscrowd", "ignore")
CVAT_MASK = "cvat_mask"
"""Key of an annotation that CVAT marks as a crowd, although it is an object."""
UNLABELLED = {0: 0, 1: 255}
"""Offset of pixel maps → their value of void."""


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
        segmentation, num_dropped = drawable(entry.get("segmentation"))
        drawing.changed["shapes-without-area"] += num_dropped if segmentation else 1
        if not segmentation:
            return None
        if CVAT_MASK in entry:
            is_crowd = False
            drawing.changed["crowds-that-are-objects"] += 1
        mask, is_cut = coco_segmentation(segmentation, drawing.size)
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
        InputError: a file cannot be read, the maps' values have no names, or an id means two categories.
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
        self.crowds_are_meant = False
        """Whether an annotation of the JSON shows that its crowds are crowds; known when the buckets are filled."""
        self.images = Listing(images_uri, Spilled)
        self.map_listing = None if maps is None else Listing(maps.uri)
        self.folders = (images_uri,) if maps is None else (images_uri, maps.uri)
        source, known_ids = source_categories(
            instances_uri, choice, stuff_uri=stuff_uri, maps_uri=None if maps is None else maps.uri, palette=palette
        )
        categories = choice.chosen(source)
        own_id = {c.id: categories.by_name[c.name].id for c in source.entries if c.name in categories.by_name}
        self.drawer = CocoDrawer(categories=categories, own_id=own_id, known_ids=known_ids, maps=maps)

    def items(self) -> Iterator[ImportItem]:
        """Every image of the JSON; in an order that depends on the ids alone."""
        if self.buckets is None:
            self.buckets = self._filled()
        self.changed = Counter()
        for image_id, records in self.buckets.groups():
            images = [record for kind, record in records if kind == "image"]
            annotations = [record for kind, record in records if kind == "annotation"]
            if self.crowds_are_meant:
                for annotation in annotations:
                    annotation.pop(CVAT_MASK, None)
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
            buckets.fill(self._records(uri))
        return buckets

    def _records(self, uri: str) -> Iterator[tuple[Any, Any]]:
        """(image id, ("image" or "annotation", entry)) of a JSON."""
        numbers: Counter[str] = Counter()
        has_images = uri == self.instances_uri
        for key, entry in stream_json(uri, ("images", "annotations") if has_images else ("annotations",)):
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
                kept = {name: entry[name] for name in KEPT_KEYS if name in entry}
                if has_images:
                    self.crowds_are_meant = self.crowds_are_meant or means_crowds(entry)
                    kept |= {CVAT_MASK: True} if is_cvat_mask(entry) else {}
                yield image_id, ("annotation", kept)


def _num_bytes(uri: str) -> int:
    with storage.open_file(uri) as file:
        return file.size()
