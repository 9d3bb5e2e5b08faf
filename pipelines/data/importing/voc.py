"""Pascal VOC's layout, and that of CVAT's mask export: which images a split has, and what nobody annotated."""

from __future__ import annotations

import re

from aunet.errors import InputError
from aunet.names import printable
from pipelines.data.importing.category_choice import CategoryChoice
from pipelines.data.importing.masks import MaskDrawer, Masks, has_colors
from pipelines.data.importing.palette import UNANNOTATED, PaletteEntry, categories_of, read_palette, table_of
from pipelines.data.importing.value_maps import ValueTable
from pipelines.store import storage
from pipelines.store.listing import Listing

VOC_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""Pascal VOC's categories: values 1 … 20, all of them things."""
VOC_VOID = 255
VOC_VOID_COLOR = 224 + 256 * 224 + 65536 * 192
"""The outlines of objects, which belong to nothing, by place in VOC's palette and by colour."""


def voc_color(value: int) -> tuple[int, int, int]:
    """Red, green and blue of a value in VOC's palette: its lowest three bits are their highest ones, and so on."""
    red, green, blue = (sum((value >> 3 * n + channel & 1) << 7 - n for n in range(3)) for channel in range(3))
    return red, green, blue


VOC_ENTRIES = [
    PaletteEntry(name=name, value=n, color=voc_color(n), is_thing=None if name == UNANNOTATED else True)
    for n, name in enumerate((UNANNOTATED, *VOC_NAMES))
]
SPLIT_LISTS = "ImageSets/Segmentation/"
_SPLIT_LIST = re.compile(rf"{SPLIT_LISTS}[^/]+\.txt")
SHOWN_LISTS = 20
CVAT_LIST = "default.txt"
"""CVAT's list where a task belongs to no split."""


def open_voc(
    root: str,
    choice: CategoryChoice,
    split: str,
    *,
    images: str | None = None,
    components: bool = False,
    upright: bool = False,
) -> Masks:
    """Pascal VOC's layout: JPEGImages, SegmentationClass, SegmentationObject, and with CVAT labelmap.txt.

    `ImageSets/Segmentation/<split>.txt` names the images of the split; without any list but CVAT's `default.txt` it has
    all of them.

    Args:
        images: folder of the images; None: JPEGImages.
        upright: whether masks are drawn on images that an EXIF tag has turned.

    Raises:
        InputError: a folder is missing, there are lists of other splits alone, or the files do not fit.
    """
    listing = Listing(root)
    folders = {name.split("/", 1)[0] for name in listing.names}
    semantic = storage.join(root, "SegmentationClass")
    map_uri = storage.join(root, "labelmap.txt")
    entries = read_palette(map_uri) if "labelmap.txt" in listing.names else VOC_ENTRIES
    unnamed = [entry for entry in entries if entry.name != UNANNOTATED]
    categories = categories_of(unnamed, choice, map_uri)
    is_color = has_colors(semantic, entries)
    table = table_of(entries, categories, map_uri, is_color=is_color, unannotated=True)
    void = table.void | {VOC_VOID_COLOR if is_color else VOC_VOID}
    drawer = MaskDrawer(
        semantic_uri=semantic,
        instances_uri=storage.join(root, "SegmentationObject") if "SegmentationObject" in folders else None,
        table=ValueTable(category_of=table.category_of, void=frozenset(void), nothing=table.nothing, is_color=is_color),
        categories=categories,
        no_instance=(0, VOC_VOID, VOC_VOID_COLOR),
        components=components,
        upright=upright,
    )
    return Masks(images or storage.join(root, "JPEGImages"), drawer, _images_of_split(listing, split))


def _images_of_split(listing: Listing, split: str) -> set[str] | None:
    """The images, without endings, that the list of a split names; None where nothing divides the images.

    Raises:
        InputError: there are lists, but none of this split.
    """
    lists = sorted(n.removeprefix(SPLIT_LISTS) for n in listing.names if _SPLIT_LIST.fullmatch(n))
    if f"{split}.txt" not in lists:
        if lists not in ([], [CVAT_LIST]):
            shown = printable(", ".join(lists[:SHOWN_LISTS]))
            raise InputError(
                f"--split {split}: {listing.uri}/{SPLIT_LISTS} has {shown}, but no {split}.txt; give "
                "--split with one of these names, or rename or add the list of this split"
            )
        return None
    text = storage.read_bytes(storage.join(listing.uri, f"{SPLIT_LISTS}{split}.txt")).decode("utf-8-sig", "replace")
    return {line.strip() for line in text.splitlines() if line.strip()}
