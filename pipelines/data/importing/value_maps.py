"""Pictures whose pixels are values: label ids, instance numbers, colours or places in a palette."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aunet.categories import Categories
from aunet.data.coco_panoptic import ids_from_rgb, load_picture
from aunet.errors import InputError
from pipelines.data.importing.record import VOID_CATEGORY
from pipelines.store import storage

Values = NDArray[np.int64]
"""int64[H, W]."""
UNANNOTATED = -2
"""In place of a category id: pixels that belong to no region, not even to one that is void."""
MANY_INSTANCES = 1 << 32
"""More than any value of an instance mask."""
CONNECTED = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Steps from a pixel to half of its eight neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueTable:
    """What the values of a semantic mask mean."""

    category_of: Mapping[int, int]
    """Value, or R + 256·G + 256²·B, → category id."""
    void: frozenset[int] = frozenset()
    """Values that mean void; others that have no category are void too, and counted."""
    nothing: frozenset[int] = frozenset()
    """Values of pixels that nobody annotated: void, or the background where one is named. None is in `category_of`."""
    is_color: bool = False
    """Whether pixels are colours; a palette is then looked up."""


def open_mask(uri: str) -> Image.Image:
    """The decoded PNG of a mask.

    Raises:
        InputError: no such file, or not a PNG.
    """
    data = storage.read_bytes(uri)
    try:
        picture = load_picture(data)
    except InputError as error:
        raise InputError(f"{uri}: {problem}" for problem in error.problems) from None
    if picture.format != "PNG":
        raise InputError(f"{uri}: a {picture.format} changes values when it is saved; export masks as PNG")
    return picture


def read_values(uri: str, *, is_color: bool = False) -> Values:
    """The values of a mask: grey levels or places in the palette; of an RGB picture, R + 256·G + 256²·B.

    Args:
        is_color: always colours, those of the palette or of the grey levels.

    Raises:
        InputError: no such file, or not a PNG whose pixels are whole numbers.
    """
    picture = open_mask(uri)
    if is_color and picture.mode in ("1", "L", "P"):
        picture = picture.convert("RGB")
    if picture.mode in ("RGB", "RGBA"):
        return ids_from_rgb(np.array(picture.convert("RGB"))).astype(np.int64)
    if is_color or picture.mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
        wanted = "8-bit RGB or a palette" if is_color else "grey, a palette or 8-bit RGB"
        raise InputError(f"{uri}: a PNG of mode {picture.mode!r}: a mask must be {wanted}; export it again")
    return np.array(picture).astype(np.int64)


@dataclass(slots=True, kw_only=True)
class RegionMap:
    """The bottom of a drawing: a map of numbers, and what each of them is."""

    base: NDArray[np.int32]
    regions: list[tuple[int, bool]] = field(default_factory=list)
    changed: Counter[str] = field(default_factory=Counter)


def regions_of(
    semantic: Values, instances: Values | None, table: ValueTable, categories: Categories, *, components: bool = False
) -> RegionMap:
    """The regions of two masks: one of every stuff category, one of every instance of a thing.

    Pixels of a thing without an instance (0) are one crowd, or with `components` one object each connected area.

    Args:
        instances: an object has one value within its category, 0 is none; None: nothing has an instance.
    """
    values, inverse = np.unique(semantic, return_inverse=True)
    inverse = inverse.reshape(semantic.shape)
    pixels = np.bincount(inverse.ravel(), minlength=len(values))
    category_ids = np.empty(len(values), dtype=np.int64)
    changed: Counter[str] = Counter()
    for number, value in enumerate(values.tolist()):
        unnamed = UNANNOTATED if value in table.nothing else VOID_CATEGORY
        category_ids[number] = table.category_of.get(value, unnamed)
        if category_ids[number] == VOID_CATEGORY and value not in table.void:
            changed["pixels-without-category"] += int(pixels[number])
    labels = category_ids[inverse]
    is_thing = np.isin(labels, [category.id for category in categories.things])
    numbers = np.zeros(semantic.shape, dtype=np.int64) if instances is None else np.where(is_thing, instances, 0)
    without = is_thing & (numbers == 0)
    if components and without.any():
        areas = connected_areas(np.where(without, labels, -1))
        changed["things-from-components"] += int(areas.max())
        numbers = np.where(without, MANY_INSTANCES + areas, numbers)
        without = np.zeros_like(without)
    known_labels, label_of = np.unique(labels, return_inverse=True)
    known_numbers, number_of = np.unique(numbers, return_inverse=True)
    pairs, pair_of = np.unique(label_of.ravel() * len(known_numbers) + number_of.ravel(), return_inverse=True)
    regions: list[tuple[int, bool]] = []
    region_of = np.zeros(len(pairs), dtype=np.int32)
    for position, pair in enumerate(pairs.tolist()):
        category_id = int(known_labels[pair // len(known_numbers)])
        if category_id == UNANNOTATED:
            continue
        category = categories.by_id.get(category_id)
        number = int(known_numbers[pair % len(known_numbers)])
        is_crowd = category is not None and category.is_thing and number == 0
        changed["things-without-instance"] += is_crowd
        regions.append((category_id, is_crowd))
        region_of[position] = len(regions)
    return RegionMap(base=region_of[pair_of].reshape(semantic.shape), regions=regions, changed=changed)


def connected_areas(labels: Values) -> Values:
    """Numbers 1, 2, … of the areas of equal labels of 0 or more that touch at a side or a corner; 0 elsewhere.

    Every pixel gets the smallest position in its area: neighbours pass it on, and positions look up their own.
    """
    height, width = labels.shape
    lowest = np.arange(height * width).reshape(height, width)
    while True:
        before = lowest.copy()
        for down, right in CONNECTED:
            here = (slice(0, height - down), slice(max(0, -right), width - max(0, right)))
            other = (slice(down, height), slice(max(0, right), width - max(0, -right)))
            equal = labels[here] == labels[other]
            smaller = np.minimum(lowest[here], lowest[other])
            lowest[here] = np.where(equal, smaller, lowest[here])
            lowest[other] = np.where(equal, np.minimum(smaller, lowest[other]), lowest[other])
        lowest = lowest.ravel()[lowest]
        if np.array_equal(lowest, before):
            break
    _, areas = np.unique(np.where(labels >= 0, lowest, -1), return_inverse=True)
    areas = areas.reshape(labels.shape)
    return areas + (1 if labels.min() >= 0 else 0)
