"""LabelMe: one JSON beside each image, with polygons, rectangles, circles and masks."""

from __future__ import annotations

import base64
import binascii
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from aunet.categories import Categories
from aunet.data.cityscapes import image_id_of
from aunet.data.coco_entries import whole_number
from aunet.data.coco_panoptic import load_picture
from aunet.data.pictures import PICTURE_ENDINGS
from aunet.documents import read_json, read_object
from aunet.errors import InputError
from pipelines.data.importing.category_choice import CategoryChoice
from pipelines.data.importing.record import VOID_CATEGORY, Drawing, ImportItem, Region, Rle, Size, Uppermost
from pipelines.data.importing.region_masks import (
    box_points,
    circle_mask,
    join_groups,
    points_of,
    polygon_mask,
    window_mask,
)
from pipelines.store import storage
from pipelines.store.listing import Listing

VOID_LABELS = ("__ignore__", "_background_")
"""Labels that LabelMe's own tools draw as void."""
POLYGONS = ("polygon", "oriented_rectangle", "rotation")
"""LabelMe's own, its turned rectangle, and that of X-AnyLabeling."""
RECTANGLE_CORNERS = 4
"""Points of a rectangle of X-AnyLabeling; LabelMe's has two."""
WITHOUT_AREA = ("point", "points", "line", "linestrip")
CURE = "correct it in LabelMe, or delete the file"


@dataclass(frozen=True, slots=True)
class LabelMeShapes:
    """Draws the shapes of LabelMe's files."""

    uri: str
    """Folder of the files."""
    categories: Categories
    on_top: Uppermost = "later"
    upright: bool = True

    def draw(self, item: ImportItem, size: Size) -> Drawing:
        """The shapes of one JSON."""
        uri = storage.join(self.uri, item.entries)
        document = read_object(storage.read_bytes(uri), uri)
        given = whole_number(document.get("imageWidth")), whole_number(document.get("imageHeight"))
        drawing = Drawing(size=size if None in given else (given[0] or 0, given[1] or 0))
        if drawing.size not in (size, size[::-1]):
            raise InputError(
                f"{uri}: for an image of {drawing.size[0]}×{drawing.size[1]}, but {item.file_name} has "
                f"{size[0]}×{size[1]}; scale one of them"
            )
        groups: dict[tuple[Any, str], list[int]] = {}
        for number, shape in enumerate(_shapes(document, uri)):
            try:
                region = self._region(shape, drawing)
            except (ValueError, InputError) as error:
                raise InputError(f"{uri}: shapes[{number}] ({shape.get('label')!r:.40}): {error}; {CURE}") from None
            if region is None:
                continue
            group = shape.get("group_id")
            if isinstance(group, int | str):
                groups.setdefault((group, str(shape.get("label"))), []).append(len(drawing.regions))
            drawing.regions.append(region)
        join_groups(drawing, groups)
        return drawing

    def _region(self, shape: Mapping[str, Any], drawing: Drawing) -> Region | None:
        """The region of a shape; None where it has none."""
        label, kind = shape.get("label"), shape.get("shape_type") or "polygon"
        category = self.categories.by_name.get(label) if isinstance(label, str) else None
        if category is None and label not in VOID_LABELS:
            drawing.changed["shapes-left-out"] += 1
            return None
        if kind in WITHOUT_AREA:
            drawing.changed["shapes-without-area"] += 1
            return None
        mask, is_cut = _mask(shape, kind, drawing.size)
        drawing.changed["regions-clipped"] += is_cut
        flags = shape.get("flags")
        is_crowd = isinstance(flags, Mapping) and any(flags.get(name) is True for name in ("crowd", "iscrowd"))
        return Region(category_id=category.id if category else VOID_CATEGORY, mask=mask, is_crowd=is_crowd)


class LabelMe:
    """A folder of images and LabelMe's JSON files, nested or not.

    Args:
        folder_uri: the folder.
        choice: of the categories.

    Raises:
        InputError: no such folder, no annotation, or it is not known which labels are things.
    """

    def __init__(self, folder_uri: str, choice: CategoryChoice) -> None:
        self.uri, self.changed = folder_uri, Counter[str]()
        self.listing = Listing(folder_uri)
        self.folders = (folder_uri,)
        self.json_of: dict[str, str] = {}
        """Image → its JSON."""
        self.problems: dict[str, list[str]] = {}
        """Image, or JSON whose image is not known → what is wrong."""
        labels: set[str] = set()
        for name in sorted(n for n in self.listing.names if n.lower().endswith(".json")):
            broken = self._beside(name) or name
            try:
                document = self._document(name)
                if document is None:
                    self.changed["files-ignored"] += 1
                    continue
                broken = self._image_of(name, document)
                labels |= self._labels(name, broken, document)
            except InputError as error:
                self.problems.setdefault(broken, []).extend(error.problems)
        listed = choice.from_file()
        if listed is None and not labels and self.problems:
            raise InputError([problem for problems in self.problems.values() for problem in problems][:20])
        self.drawer = LabelMeShapes(folder_uri, listed or choice.of_labels(sorted(labels), folder_uri))

    def items(self) -> Iterator[ImportItem]:
        """Every image of the folder, by name."""
        for name in sorted({n for n in self.listing.names if n.lower().endswith(PICTURE_ENDINGS)} | set(self.problems)):
            json_name = self.json_of.get(name)
            names = [name] if json_name is None else [name, json_name]
            yield ImportItem(
                image_uri=storage.join(self.uri, name),
                file_name=name,
                image_id=image_id_of(name),
                entries=json_name,
                sources=tuple(self.listing.files[n] for n in names if n in self.listing.files),
                problem="; ".join(self.problems.get(name, ())),
            )

    def _document(self, name: str) -> Mapping[str, Any] | None:
        """The content of a JSON; None where it is not LabelMe's."""
        uri = storage.join(self.uri, name)
        document = read_json(storage.read_bytes(uri), uri)
        return document if isinstance(document, Mapping) and "shapes" in document else None

    def _labels(self, name: str, image: str, document: Mapping[str, Any]) -> set[str]:
        """The labels of a JSON, which is noted as that of its image.

        Raises:
            InputError: the image has another one, or a label is not a name.
        """
        uri = storage.join(self.uri, name)
        if image in self.json_of:
            raise InputError(f"{uri}: {image} is annotated in {self.json_of[image]} too; keep one of the two")
        self.json_of[image] = name
        labels: set[str] = set()
        for number, shape in enumerate(_shapes(document, uri)):
            label = shape.get("label")
            if not isinstance(label, str) or not label.strip():
                raise InputError(f"{uri}: shapes[{number}] has the label {label!r:.40}, which is not a name; {CURE}")
            labels.add(label)
        return labels - set(VOID_LABELS)

    def _image_of(self, name: str, document: Mapping[str, Any]) -> str:
        """The image of a JSON: the one that it names, else one of that name beside it, else one of the JSON's name."""
        uri, given = storage.join(self.uri, name), document.get("imagePath")
        if not isinstance(given, str):
            given = ""
        path, folder = given.replace("\\", "/"), posixpath.dirname(name)
        candidates = [
            posixpath.normpath(posixpath.join(folder, path)),
            posixpath.join(folder, posixpath.basename(path)),
        ]
        known = next((c for c in candidates if given and c in self.listing.names), None) or self._beside(name)
        if known is None:
            raise InputError(f"{uri}: its image {given!r:.120} is missing below {self.uri}; add it or delete the JSON")
        if not known.lower().endswith(PICTURE_ENDINGS):
            raise InputError(f"{uri}: its image {known:.120} is not a JPEG or PNG; convert it")
        return known

    def _beside(self, name: str) -> str | None:
        """The image with the name of a JSON."""
        stem = str(PurePosixPath(name).with_suffix(""))
        endings = [*PICTURE_ENDINGS, *(ending.upper() for ending in PICTURE_ENDINGS)]
        return next((stem + ending for ending in endings if stem + ending in self.listing.names), None)


def _shapes(document: Mapping[str, Any], uri: str) -> list[Mapping[str, Any]]:
    shapes = document.get("shapes")
    if not isinstance(shapes, list) or not all(isinstance(shape, Mapping) for shape in shapes):
        raise InputError(f"{uri}: shapes is not a list of objects; {CURE}")
    return shapes


def _mask(shape: Mapping[str, Any], kind: Any, size: Size) -> tuple[Rle, bool]:
    """The mask of a shape, and whether it was cut at the edge of the image.

    Raises:
        ValueError: it cannot be drawn.
    """
    points = points_of(shape.get("points"))
    if kind in POLYGONS or (kind == "rectangle" and len(points) == RECTANGLE_CORNERS):
        return polygon_mask(points, size)
    if kind not in ("rectangle", "circle", "mask"):
        raise ValueError(f"shape_type {kind!r:.40} is unknown")
    if len(points) != 2:
        raise ValueError(f"a {kind} of {len(points)} points instead of 2")
    (x1, y1), (x2, y2) = points
    if kind == "rectangle":
        return polygon_mask(box_points(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), size)
    if kind == "circle":
        return circle_mask(x1, y1, ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5, size), False
    return window_mask(_encoded_mask(shape.get("mask")), round(min(x1, x2)), round(min(y1, y2)), size)


def _encoded_mask(text: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The PNG in the JSON: bool[h, w]."""
    try:
        data = base64.b64decode(text if isinstance(text, str) else "", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("mask is not base64") from None
    pixels = np.array(load_picture(data))
    if pixels.ndim != 2:
        raise ValueError(f"mask is a picture of {pixels.shape[-1]} channels instead of one")
    return pixels != 0
