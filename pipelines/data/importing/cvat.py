"""CVAT's "CVAT for images 1.1": one XML with polygons, boxes, ellipses and masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aunet.categories import Categories, Category, read_color
from aunet.data.cityscapes import image_id_of
from aunet.errors import InputError
from aunet.names import printable
from pipelines.data.importing.category_choice import CategoryChoice
from pipelines.data.importing.cvat_xml import stream_cvat
from pipelines.data.importing.record import Drawing, ImportItem, Region, Rle, Size, Uppermost
from pipelines.data.importing.region_masks import (
    FURTHEST,
    box_points,
    ellipse_points,
    join_groups,
    points_of,
    polygon_mask,
    window_mask,
)
from pipelines.data.spill import Spilled
from pipelines.store import storage
from pipelines.store.listing import Listing

ENDINGS = ("", ".PNG", ".png")
"""Of a file, after the name of its image: frames of a video are named without one and stored as PNG."""
WITHOUT_AREA = ("points", "polyline", "skeleton", "cuboid", "tag")
CURE = "correct it in CVAT and export again"


@dataclass(frozen=True, slots=True, kw_only=True)
class CvatDrawer:
    """Draws the shapes of one image."""

    categories: Categories
    labels: frozenset[str]
    """All labels of the task."""
    on_top: Uppermost = "later"
    upright: bool = True

    def draw(self, item: ImportItem, size: Size) -> Drawing:
        """The shapes of one `image` element."""
        drawing = Drawing(size=(item.entries["width"], item.entries["height"]))
        groups: dict[tuple[Any, str], list[int]] = {}
        for number, shape in enumerate(item.entries["shapes"]):
            try:
                region = self._region(shape, drawing)
            except (ValueError, InputError) as error:
                label = shape.get("label")
                raise InputError(f"{item.file_name}: shape {number} ({label!r:.40}): {error}; {CURE}") from None
            if region is None:
                continue
            if (group := shape.get("group_id", "0")) not in ("", "0"):
                groups.setdefault((group, shape["label"]), []).append(len(drawing.regions))
            drawing.regions.append(region)
        join_groups(drawing, groups)
        return drawing

    def _region(self, shape: Mapping[str, Any], drawing: Drawing) -> Region | None:
        """The region of a shape; None where it has none."""
        if self.labels and shape.get("label") not in self.labels:
            raise ValueError("the label is not one of the task")
        category = self.categories.by_name.get(shape.get("label", ""))
        if category is None:
            drawing.changed["shapes-left-out"] += 1
            return None
        if shape["kind"] in WITHOUT_AREA:
            drawing.changed["shapes-without-area"] += 1
            return None
        mask, is_cut = _mask(shape, drawing.size)
        drawing.changed["regions-clipped"] += is_cut
        z = _numbers(shape, "z_order")[0] if "z_order" in shape else 0.0
        return Region(category_id=category.id, mask=mask, is_crowd=shape["crowd"], z=z)


class Cvat:
    """The images of an XML.

    Args:
        images_uri: folder of the images.
        xml_uri: the XML.
        choice: of the categories.

    Raises:
        InputError: the XML cannot be read, or nothing says which labels are things.
    """

    def __init__(self, images_uri: str, xml_uri: str, choice: CategoryChoice) -> None:
        self.images_uri, self.xml_uri, self.changed = images_uri, xml_uri, Counter[str]()
        self.images = Listing(images_uri, Spilled)
        self.folders = (images_uri,)
        self.subset: str | None = None
        """The subset of a project whose folder `images_uri` is; None: it holds all images of the XML."""
        self.subsets_of: Spilled[list[str]] = Spilled()
        """File → the subsets that have an image of its name."""
        labels, subsets = dict[str, str](), set[str]()
        for kind, record in stream_cvat(xml_uri):
            if kind == "label":
                labels.setdefault(record["name"], record["color"])
            elif subset := record["subset"]:
                subsets.add(subset)
                name = self._name_of(record)
                self.subsets_of[name] = sorted({subset, *self.subsets_of.get(name, ())})
        folder = storage.absolute(images_uri).rpartition("/")[2]
        if folder in subsets and not any(name.startswith(f"{folder}/") for name in self.images.names):
            self.subset = folder
        listed = choice.from_file()
        if listed is None:
            made = choice.of_labels(labels, xml_uri)
            colored = (
                Category(id=c.id, name=c.name, is_thing=c.is_thing, color=read_color(labels.get(c.name)))
                for c in made.entries
            )
            listed = Categories(tuple(colored))
        self.drawer = CvatDrawer(categories=listed, labels=frozenset(labels))

    def items(self) -> Iterator[ImportItem]:
        """Every image of the XML, in its order; of one subset where the folder is that of one."""
        self.changed = Counter()
        for kind, record in stream_cvat(self.xml_uri):
            if kind == "image" and self.subset in (None, record["subset"]):
                yield self._item(record)
            elif kind == "image":
                self.changed["annotations-orphan"] += 1

    def _name_of(self, record: Mapping[str, Any]) -> str:
        """The file of an image, below the folder of its subset or not; its name where there is none."""
        name, subset = record["name"], record["subset"]
        names = [name] if subset in ("", self.subset) else [f"{subset}/{name}", name]
        candidates = (name + ending for name in names for ending in ENDINGS)
        return next((candidate for candidate in candidates if candidate in self.images.files), names[0])

    def _item(self, record: Mapping[str, Any]) -> ImportItem:
        name, problem = self._name_of(record), ""
        subsets = self.subsets_of.get(name, [])
        if self.subset is None and len(subsets) > 1:
            problem = (
                f"{name}: one file of {self.images_uri}, but {self.xml_uri} has an image of this name in each of the "
                f"subsets {printable(' and '.join(subsets))}; give --images the folder that has one for each subset"
            )
        try:
            uri = storage.join(self.images_uri, name)
        except InputError as error:
            uri, problem = self.images_uri, error.problems[0]
        file = self.images.files.get(name)
        return ImportItem(
            image_uri=uri,
            file_name=name,
            image_id=image_id_of(name),
            entries=None if problem else {key: record[key] for key in ("width", "height", "shapes")},
            sources=() if file is None else (file,),
            problem=problem,
        )


def _mask(shape: Mapping[str, Any], size: Size) -> tuple[Rle, bool]:
    """The mask of a shape, and whether it was cut at the edge of the image.

    Raises:
        ValueError: it cannot be drawn.
    """
    kind = shape["kind"]
    if kind == "polygon":
        pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
        return polygon_mask(points_of([_float(number) for pair in pairs for number in pair]), size)
    if kind == "box":
        turn = _numbers(shape, "rotation")[0] if "rotation" in shape else 0.0
        x1, y1, x2, y2 = _numbers(shape, "xtl", "ytl", "xbr", "ybr")
        return polygon_mask(box_points(x1, y1, x2, y2, turn), size)
    if kind == "ellipse":
        turn = _numbers(shape, "rotation")[0] if "rotation" in shape else 0.0
        x, y, radius_x, radius_y = _numbers(shape, "cx", "cy", "rx", "ry")
        return polygon_mask(ellipse_points(x, y, radius_x, radius_y, turn), size)
    if kind != "mask":
        raise ValueError(f"a {kind} is unknown")
    left, top, width, height = (int(n) for n in _numbers(shape, "left", "top", "width", "height"))
    if not (0 < width <= size[0] and 0 < height <= size[1]):
        raise ValueError(f"a mask of {width}×{height} on an image of {size[0]}×{size[1]}")
    runs = [_float(run) for run in shape.get("rle", "").split(",")]
    if any(run < 0 or run != int(run) for run in runs) or sum(runs) != width * height:
        raise ValueError(f"run lengths of {sum(runs):g} pixels for a mask of {width}×{height}")
    counts = np.array(runs, dtype=np.int64)
    pixels = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    return window_mask(pixels, left, top, size)


def _numbers(shape: Mapping[str, Any], *names: str) -> list[float]:
    return [_float(shape.get(name, "")) for name in names]


def _float(text: str) -> float:
    """A finite number that is a coordinate.

    Raises:
        ValueError: the text is something else.
    """
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text!r:.40} is not a number") from None
    if not abs(number) <= FURTHEST * FURTHEST:
        raise ValueError(f"{text!r:.40} is not a number that can be a coordinate")
    return number
