"""Panoptic JSON whose image ids are names: Cityscapes' `createPanopticImgs.py`, and Mapillary Vistas as distributed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from aunet.categories import Categories, Category
from aunet.data.cityscapes import LABELS, frame_of, image_id_of
from aunet.data.coco_entries import entry_id, malformed, read_categories, read_segments, wrong_keys
from aunet.data.coco_panoptic import decode_panoptic
from aunet.data.defects import Defect, errors_of
from aunet.data.pictures import PICTURE_ENDINGS
from aunet.errors import InputError
from pipelines.data.importing.category_choice import CategoryChoice
from pipelines.data.importing.record import Drawing, ImportItem, Size, Uppermost
from pipelines.data.json_stream import stream_json
from pipelines.store import storage
from pipelines.store.listing import Listing

TRAIN_IDS = "_trainId.json"
"""End of the name of a file of `createPanopticImgs.py` whose category ids are train ids."""
TRAINED = Categories(
    tuple(
        Category(id=label.train_id, name=label.name, is_thing=label.has_instances, color=label.color)
        for label in LABELS
        if label.train_id is not None
    )
)
"""Cityscapes' 19 labels by train id."""
CURE = "write the file again"


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticDrawer:
    """Draws a panoptic PNG and its segments."""

    maps_uri: str
    categories: Categories
    own_id: Mapping[int, int]
    """Category id of the source → of `categories`."""
    source: Categories
    on_top: Uppermost = "later"
    upright: bool = False

    def draw(self, item: ImportItem, size: Size) -> Drawing:
        """The segments of one image."""
        uri = storage.join(self.maps_uri, item.entries["map"])
        try:
            ids = decode_panoptic(storage.read_bytes(uri))
        except InputError as error:
            raise InputError(f"{uri}: {'; '.join(error.problems)}") from None
        defects: list[Defect] = []
        segments = list(read_segments(item.file_name, item.entries, self.source.by_id, defects))
        wrong = [d for d in errors_of(defects) if d.rule not in ("crowd-stuff", "measures-missing")]
        if wrong:
            raise InputError(f"{defect.message} [{defect.rule}]; {defect.cure}" for defect in wrong)
        drawing = Drawing(size=(ids.shape[1], ids.shape[0]), base=np.zeros(ids.shape, dtype=np.int32))
        values, number_of = np.unique(ids, return_inverse=True)
        index = {value: n for n, value in enumerate(values.tolist())}
        labels = np.zeros(len(values), dtype=np.int32)
        for segment in segments:
            own_id = self.own_id.get(segment.category_id)
            if segment.id not in index:
                drawing.changed["regions-hidden"] += 1
            elif own_id is None:
                drawing.changed["shapes-left-out"] += 1
            else:
                drawing.base_regions.append((own_id, segment.is_crowd))
                labels[index[segment.id]] = len(drawing.base_regions)
        known = {segment.id for segment in segments} | {0}
        unknown = np.isin(values, list(known), invert=True)
        drawing.changed["pixels-without-category"] += int(unknown[number_of].sum())
        drawing.base = labels[number_of].reshape(ids.shape)
        return drawing


class PanopticNames:
    """The annotations of a panoptic JSON with names as ids, their images found by these names.

    Args:
        images_uri: folder of the images; those of Cityscapes are in a folder for each city.
        json_uri: the JSON.
        choice: of the categories.
        maps_uri: folder of its PNGs; None: the folder beside the JSON with its name.

    Raises:
        InputError: a file or folder is missing, or has no categories that could be known.
    """

    def __init__(self, images_uri: str, json_uri: str, choice: CategoryChoice, *, maps_uri: str | None = None) -> None:
        self.images_uri, self.json_uri, self.changed = images_uri, json_uri, Counter[str]()
        maps_uri = maps_uri or json_uri.removesuffix(".json")
        self.images, self.maps = Listing(images_uri), Listing(maps_uri)
        self.folders = (images_uri, maps_uri)
        self.image_of, self.map_of = _by_frame(self.images), _by_name(self.maps)
        source = self._categories(choice)
        categories = choice.chosen(source)
        own_id = {c.id: categories.by_name[c.name].id for c in source.entries if c.name in categories.by_name}
        self.drawer = PanopticDrawer(maps_uri=maps_uri, categories=categories, own_id=own_id, source=source)

    def items(self) -> Iterator[ImportItem]:
        """Every annotation, in the order of the file, then the images that have none."""
        seen: set[str] = set()
        self.changed = Counter()
        for number, (_, entry) in enumerate(stream_json(self.json_uri, ("annotations",))):
            image_id = entry_id(entry, "image_id")
            wrong = wrong_keys(entry, {"file_name": PurePosixPath, "segments_info": list})
            if image_id is None or wrong:
                keys = [*(["image_id"] if image_id is None else []), *wrong]
                raise InputError(f"{self.json_uri}: annotations[{number}]: {malformed(keys, entry)}; {CURE}")
            given = entry["image_id"]  # "000019" is a name, not the number 19
            item = self._item(given if isinstance(given, str) else str(image_id), entry)
            if item is None:
                self.changed["annotations-orphan"] += 1
                continue
            seen.add(item.file_name)
            yield item
        for name in sorted(set(self.image_of.values()) - seen):
            yield ImportItem(
                image_uri=storage.join(self.images_uri, name),
                file_name=name,
                image_id=image_id_of(stem(name)),
                sources=(self.images.files[name],),
            )

    def _item(self, image_id: str, entry: Mapping[str, Any]) -> ImportItem | None:
        """The item of an annotation; None where its image is not in the folder."""
        name = self.image_of.get(image_id)
        if name is None:
            return None
        uri, number = storage.join(self.images_uri, name), image_id_of(image_id)
        map_name = self.map_of.get(PurePosixPath(entry["file_name"]).name)
        if map_name is None:
            problem = f"{self.json_uri}: {entry['file_name']} of image {image_id!r}: missing in {self.maps.uri}; add it"
            return ImportItem(image_uri=uri, file_name=name, image_id=number, problem=problem)
        entries = {"map": map_name, "segments_info": entry["segments_info"]}
        files = (self.images.files[name], self.maps.files[map_name])
        return ImportItem(image_uri=uri, file_name=name, image_id=number, entries=entries, sources=files)

    def _categories(self, choice: CategoryChoice) -> Categories:
        for _, listed in stream_json(self.json_uri, values=("categories",)):
            defects: list[Defect] = []
            by_id = read_categories(listed if isinstance(listed, list) else [listed], self.json_uri, defects)
            if errors := errors_of(defects):
                raise InputError(f"{defect.message}; {defect.cure}" for defect in errors)
            return Categories(tuple(by_id.values()))
        if self.json_uri.endswith(TRAIN_IDS):
            return TRAINED
        if (listed := choice.from_file()) is not None:
            return listed
        raise InputError(f"{self.json_uri}: no list 'categories'; name a file that has one: --categories FILE")


def stem(name: str) -> str:
    """What the name of an image and the id of its annotation share: `aachen_000000_000019`."""
    frame = frame_of(name)
    return PurePosixPath(name).stem if frame == name else PurePosixPath(frame).name


def _by_frame(listing: Listing) -> dict[str, str]:
    """Image id → path below the folder.

    Raises:
        InputError: two images have one name.
    """
    by_frame: dict[str, str] = {}
    problems = []
    for name in sorted(n for n in listing.names if n.lower().endswith(PICTURE_ENDINGS)):
        key = stem(name)
        if key in by_frame:
            problems.append(f"{listing.uri}: {by_frame[key]} and {name} have one name; every image needs its own")
        by_frame[key] = name
    if problems:
        raise InputError(problems[:20])
    return by_frame


def _by_name(listing: Listing) -> dict[str, str]:
    """File name → path below the folder, whatever folder of a city it is in."""
    return {PurePosixPath(path).name: path for path in sorted(listing.names)}
