"""Parts of an evaluation by what images or segments have in common: two models can be compared on each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aunet.categories import Categories
from aunet.errors import InputError
from aunet.evaluation.outcomes import ImageCounts, Outcomes

Tags = Mapping[int, Mapping[str, str]]
"""Image id → name of a tag → text."""
AREAS = (("small", 0), ("medium", 32**2), ("large", 96**2))
"""COCO's sizes of objects: the least area of each in pixels."""
SHARES = (("below 0.1 %", 0.0), ("0.1 to 1 %", 0.001), ("1 to 10 %", 0.01), ("10 % and more", 0.1))
"""Sizes relative to the image."""
SEGMENTS = (("0 to 5", 0), ("6 to 10", 6), ("11 to 20", 11), ("21 and more", 21))
"""Number of true segments of an image."""
MAX_VALUES = 50
"""Of a tag that images are sliced by."""
_CITYSCAPES = re.compile(r"([a-z-]+)_\d{6}_\d{6}_")


@dataclass(frozen=True, slots=True)
class Slice:
    """The images or segments with one value, as two models label them."""

    value: str
    ours: ImageCounts
    theirs: ImageCounts


def cut(by: str, ours: Outcomes, theirs: Outcomes, tags: Tags, categories: Categories) -> list[Slice]:
    """The slices of an evaluation, in order.

    By what segments are: `size` (COCO's areas), `relative-size`, `category`. A match belongs where its true segment
    does; an image without anything in a slice is left out of it. By what images are: `crowded` (has a crowd region),
    `segments` (how many true ones), `city` (of Cityscapes), `resolution`, `folder`, or any other of their tags.

    Args:
        by: one of these.
        ours: of some images.
        theirs: of the same images.
        tags: of the images.

    Raises:
        InputError: there is no such tag, or it has another value for almost every image.
    """
    if by in ("size", "relative-size", "category"):
        band_of, names = _segment_bands(by, tags, categories)
        ours_bands, theirs_bands = band_of(ours), band_of(theirs)
        return [
            _with_content(name, ours.select(ours_bands == n), theirs.select(theirs_bands == n), categories)
            for n, name in enumerate(names)
            if (ours_bands == n).any() or (theirs_bands == n).any()
        ]
    values = _image_values(by, ours, tags)
    order = [name for name, _ in SEGMENTS] if by == "segments" else sorted(set(values.values()))
    return [
        Slice(value, *(one.of_images(ids).counts(categories) for one in (ours, theirs)))
        for value in order
        if len(ids := np.array([image for image, v in values.items() if v == value], np.int64))
    ]


def _segment_bands(
    by: str, tags: Tags, categories: Categories
) -> tuple[Callable[[Outcomes], npt.NDArray[np.integer]], list[str]]:
    """A function that numbers the slice of every segment, and the slices' names."""
    if by == "category":
        return lambda outcomes: outcomes.category, [c.name for c in categories.entries]
    if by == "size":
        return lambda outcomes: _band(outcomes.area, AREAS), [name for name, _ in AREAS]

    def relative(outcomes: Outcomes) -> npt.NDArray[np.integer]:
        pixels = np.array([_pixels(tags, image) for image in outcomes.images.tolist()], np.float64)
        return _band(outcomes.area / pixels[np.searchsorted(outcomes.images, outcomes.image_id)], SHARES)

    return relative, [name for name, _ in SHARES]


def _band(values: npt.NDArray[np.number], bands: tuple[tuple[str, float], ...]) -> npt.NDArray[np.integer]:
    return np.searchsorted([least for _, least in bands], values, side="right") - 1


def _pixels(tags: Tags, image: int) -> int:
    own = tags.get(image, {})
    height, width = own.get("height", ""), own.get("width", "")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise InputError(f"image {image}: its height and width are not known; use the slice size instead")
    return int(height) * int(width)


def _with_content(value: str, ours: Outcomes, theirs: Outcomes, categories: Categories) -> Slice:
    """Only images in which either has something."""
    images = np.union1d(ours.image_id, theirs.image_id)
    return Slice(value, *(one.of_images(images).counts(categories) for one in (ours, theirs)))


def _image_values(by: str, outcomes: Outcomes, tags: Tags) -> dict[int, str]:
    """The value of every image that has one."""
    images = outcomes.images.tolist()
    is_true = ~outcomes.is_predicted
    if by == "segments":
        counts = np.bincount(np.searchsorted(outcomes.images, outcomes.image_id[is_true]), minlength=len(images))
        return {image: SEGMENTS[n][0] for image, n in zip(images, _band(counts, SEGMENTS).tolist(), strict=True)}
    if by == "crowded":
        crowded = set(outcomes.image_id[is_true & outcomes.is_crowd].tolist())
        return {image: "with crowds" if image in crowded else "without crowds" for image in images}
    values = {image: value for image in images if (value := _derived(tags.get(image, {})).get(by))}
    if not values:
        known = sorted({name for image in images for name in _derived(tags.get(image, {}))} - {"file_name"})
        raise InputError(
            f"--slice {by}: no image has such a tag; use one of size, relative-size, category, crowded, segments"
            f"{''.join(f', {name}' for name in known)}, or give tags with --tags"
        )
    if (number := len(set(values.values()))) > MAX_VALUES:
        raise InputError(f"--slice {by}: {number} values; use a tag with at most {MAX_VALUES}")
    return values


def _derived(own: Mapping[str, str]) -> dict[str, str]:
    """The tags of an image, and those that follow from them."""
    name = own.get("file_name", "")
    folder, _, base = name.rpartition("/")
    derived = {"folder": folder}
    if match := _CITYSCAPES.match(base):
        derived["city"] = match[1]
    if "height" in own and "width" in own:
        derived["resolution"] = f"{own['width']}×{own['height']}"
    return {key: value for key, value in derived.items() if value} | dict(own)
