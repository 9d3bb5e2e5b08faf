"""What every importer makes of its format: items to import, and for each a drawing of regions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from aunet.categories import Categories
from pipelines.store.storage import FileInfo

Rle = dict[str, Any]
"""A mask as pycocotools has it, `{"size": [H, W], "counts": bytes}`."""
Size = tuple[int, int]
"""(width, height) in pixels."""
Uppermost = Literal["later", "smaller"]
"""Which of two things of equal depth hides the other: the one that comes later, or the one of smaller area."""
VOID_CATEGORY = -1
"""Category of a region that is to be ignored: its pixels become void."""

CHANGES = {
    "images-left-out": "images of which no pixel is annotated, left out",
    "images-void": "images of which no pixel is annotated, kept with a map that is void everywhere",
    "images-broken": "images with an error, left out by --skip-broken",
    "images-turned": "images that an EXIF tag turned, stored upright (JPEG at quality 95)",
    "images-untagged": "images whose EXIF tag does not fit the annotation, stored without it (JPEG at quality 95)",
    "images-orientation-guessed": "images whose size does not show whether the annotation obeys their EXIF tag, stored "
    "without it as if not: a guess, so look at one of them (JPEG at quality 95)",
    "regions-hidden": "regions completely under others, dropped",
    "regions-empty": "regions that cover no pixel's centre, dropped",
    "regions-clipped": "outlines that leave the image, cut at its edge",
    "regions-joined": "shapes of a group, joined to one object",
    "regions-void": "regions to be ignored, void",
    "thing-pixels-covered": "pixels of things under other regions",
    "stuff-pixels-covered": "pixels of stuff under other regions",
    "crowd-stuff": "stuff marked as a crowd, made ordinary stuff",
    "ignored-as-crowd": "objects marked as to be ignored, kept as crowds",
    "crowds-that-are-objects": "masks that CVAT's COCO 1.0 marks as crowds, made objects",
    "things-without-instance": "areas of a thing without instances, kept as one crowd of an image and category",
    "things-from-components": "objects made of connected areas",
    "pixels-without-category": "pixels of values or colours that no category has, void",
    "shapes-without-area": "points and lines, left out",
    "shapes-left-out": "shapes of labels that the categories lack, left out",
    "annotations-orphan": "annotations of images that are not listed, left out",
    "files-ignored": "JSON files that hold something else, ignored",
}
"""What an import may change, by rule; the result counts each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportItem:
    """One image and where its annotation is."""

    image_uri: str
    file_name: str
    """Of the image, below the folder of the images; it names the map too."""
    image_id: int
    entries: Any = None
    """What the reader needs to draw it, as plain JSON; None: there is no annotation."""
    sources: tuple[FileInfo, ...] = ()
    """The image and the files that `entries` names, as they are now; without those that a listing lacks."""
    problem: str = ""
    """Why it cannot be imported, with the cure; empty where it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One object or one area of stuff."""

    category_id: int
    """`VOID_CATEGORY`: to be ignored."""
    mask: Rle
    is_crowd: bool = False
    z: float = 0.0
    """Depth: a larger one hides a smaller one."""


@dataclass(slots=True, kw_only=True)
class Drawing:
    """The annotation of one image: a map at the bottom, and regions to be painted over it."""

    size: Size
    regions: list[Region] = field(default_factory=list)
    """In the order of the source."""
    base: NDArray[np.int32] | None = None
    """[H, W]: 0 where there is nothing, else 1 + index into `base_regions`."""
    base_regions: list[tuple[int, bool]] = field(default_factory=list)
    """(category_id, is_crowd) of the regions of the map."""
    changed: Counter[str] = field(default_factory=Counter)


class Drawer(Protocol):
    """Draws the annotations of a data set; small, because every task carries it to its process."""

    @property
    def categories(self) -> Categories: ...

    @property
    def on_top(self) -> Uppermost:
        """The rule of the format, where the command line has no other."""
        ...

    @property
    def upright(self) -> bool:
        """Whether annotations are drawn on images that an EXIF tag has turned."""
        ...

    def draw(self, item: ImportItem, size: Size) -> Drawing:
        """The annotation of an item whose `entries` are not None; `size` is that of its image, for formats without one.

        Raises:
            InputError: it cannot be drawn; the message names the file and the cure.
        """
        ...


class Reader(Protocol):
    """A data set in one format."""

    @property
    def drawer(self) -> Drawer: ...

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders of images, masks and maps that are read: nothing may be written there."""
        ...

    @property
    def changed(self) -> Counter[str]:
        """What was left out before there were items; complete when `items` ends."""
        ...

    def items(self) -> Iterator[ImportItem]:
        """Every image once, in the same order at every call."""
        ...
