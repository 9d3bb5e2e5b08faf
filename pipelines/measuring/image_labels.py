"""Labelling the images of a folder: what is read, what is written for each, and what the JSON says of it."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aunet.categories import Categories
from aunet.data.coco_json import ImageRecord, PanopticAnnotations, read_panoptic_json
from aunet.data.coco_panoptic import decode_image, decode_panoptic, encode_panoptic
from aunet.drawing import draw_panoptic, side_by_side
from aunet.drawing_attention import draw_attention
from aunet.errors import InputError
from aunet.predictor import Predictor, Result
from aunet.segments import Segment
from pipelines.measuring.images import read_image
from pipelines.measuring.prepared_images import PreparedImages
from pipelines.pages.pictures import encode_png
from pipelines.store import storage
from pipelines.store.predictions_folder import PredictionsFolder
from pipelines.store.run_folder import ATTENTION, OVERLAYS

OVERLAY_SIDE = 4096
"""Overlays of larger images show every second, third, … pixel."""
TrueMap = tuple[NDArray[np.int32], Sequence[Segment], Categories]
"""int32[H, W], its segments, and their categories."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroundTruth:
    """Ground truth to be shown beside the predictions."""

    annotations: PanopticAnnotations
    panoptic_dir: str
    by_file_name: dict[str, ImageRecord]

    @classmethod
    def read(cls, panoptic_json: str, panoptic_dir: str) -> GroundTruth:
        """The ground truth of a COCO panoptic folder.

        Raises:
            InputError: the JSON is missing or wrong.
        """
        annotations = read_panoptic_json(storage.read_bytes(panoptic_json), panoptic_json)
        by_file_name = {record.file_name: record for record in annotations.images}
        return cls(annotations=annotations, panoptic_dir=panoptic_dir, by_file_name=by_file_name)

    def map_of(self, name: str, size: tuple[int, ...]) -> TrueMap | None:
        """The ground truth of an image of (height, width), where it has one.

        Raises:
            InputError: it cannot be read, or is that of an image of another size.
        """
        record = self.by_file_name.get(name)
        if record is None:
            return None
        uri = storage.join(self.panoptic_dir, record.panoptic_name)
        ids = decode_panoptic(storage.read_bytes(uri))
        if ids.shape != size:
            raise InputError(
                f"has {size[1]}×{size[0]} pixels, its ground truth {uri} {ids.shape[1]}×{ids.shape[0]}; correct one"
            )
        return ids, record.segments, self.annotations.categories


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One image to be labelled."""

    image_id: int
    name: str
    """Path below the folder of the images."""
    png: str
    """Path of its map below `panoptic`."""


@dataclass(frozen=True, slots=True)
class ReadImage:
    """An image that has been decoded."""

    entry: ImageEntry
    image: NDArray[np.uint8]
    true: TrueMap | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderLabels:
    """What is read of a folder of images, and what is written for each."""

    folder: str
    max_pixels: int
    overlays: bool = False
    attention: bool = False
    truth: GroundTruth | None = None
    prepared: PreparedImages | None = None
    """Holds the images where `folder` is prepared data."""

    def read(self, entry: ImageEntry, predictor: Predictor) -> ReadImage:
        """Decode an image, and its ground truth where that is drawn.

        Raises:
            InputError: one of them cannot be read, or the image is too small for the predictor; the message begins with
                the image's URI.
        """
        try:
            if self.prepared is None:
                image = read_image(self.folder, entry.name, self.max_pixels)
            else:
                image = decode_image(self.prepared.content(entry.name), self.max_pixels)
            predictor.check_size(image)
            shown = self.truth if self.overlays else None
            return ReadImage(entry, image, shown.map_of(entry.name, image.shape[:2]) if shown else None)
        except InputError as error:
            uri = storage.join(self.folder, entry.name)
            raise InputError(f"{uri}: {problem}" for problem in error.problems) from None

    def write(self, read: ReadImage, predictor: Predictor, result: Result, out: str) -> dict[str, Any]:
        """Write what is asked for below `out`; the entries of the JSON, `image` and `annotation`."""
        entry, (height, width) = read.entry, read.image.shape[:2]
        ids, segments = result.panoptic.ids.cpu().numpy(), result.panoptic.segments
        storage.write_bytes(storage.join(PredictionsFolder(out).panoptic_uri, entry.png), encode_panoptic(ids))
        if self.overlays:
            picture = _draw(predictor, read, ids, segments)
            storage.write_bytes(storage.join(out, OVERLAYS, entry.png), encode_png(picture))
        if self.attention:
            picture = draw_attention(read.image, result.attention)
            storage.write_bytes(storage.join(out, ATTENTION, entry.png), encode_png(picture))
        segments_info = [segment.to_json() for segment in segments]
        return {
            "image": {"id": entry.image_id, "file_name": entry.name, "height": height, "width": width},
            "annotation": {"image_id": entry.image_id, "file_name": entry.png, "segments_info": segments_info},
        }


def check_attention(predictor: Predictor, model: str) -> None:
    """Make sure that there is an attention to be drawn.

    Raises:
        InputError: the network has none.
    """
    if not (predictor.config.attention.pam or predictor.config.attention.mam):
        raise InputError(
            f"--attention: {model} has none (model.attention.pam and .mam are false); leave the option out, "
            "or give a model that was trained with one of them"
        )


def number_images(names: Sequence[str], image_ids: Mapping[str, int]) -> list[ImageEntry]:
    """An entry for every image, with the id that is known or the next free one, and a map of its own."""
    known = set(image_ids.values())
    free: Iterator[int] = (number for number in itertools.count(1) if number not in known)
    png_names = _png_names(names)
    return [ImageEntry(image_ids[n] if n in image_ids else next(free), n, png_names[n]) for n in names]


def check_apart(out: str, images: str) -> None:
    """Refuse results among the images: a second run would label them, too.

    Raises:
        InputError: `out` is inside of `images`.
    """
    inner, outer = (
        os.path.realpath(uri) if not storage.is_remote(uri) else uri for uri in map(storage.absolute, (out, images))
    )
    if inner == outer or inner.startswith(f"{outer}/"):
        raise InputError(
            f"--out {out}: inside of --images {images}, so that another run would label its own results; "
            "write to another folder"
        )


def _png_names(names: Sequence[str]) -> dict[str, str]:
    """Name of an image → name of its map: the suffix is replaced, or kept where two images would have one map."""
    png_names = {name: str(PurePosixPath(name).with_suffix(".png")) for name in names}
    while doubled := {png for png, count in Counter(png_names.values()).items() if count > 1}:
        png_names = {name: f"{name}.png" if png in doubled else png for name, png in png_names.items()}
    return png_names


def _draw(
    predictor: Predictor, read: ReadImage, ids: NDArray[np.integer], segments: Sequence[Segment]
) -> NDArray[np.uint8]:
    """Image, ground truth where it is known, and prediction side by side."""
    step = -(-max(ids.shape) // OVERLAY_SIDE)
    thin = (slice(None, None, step), slice(None, None, step))
    pictures, titles = [np.ascontiguousarray(read.image[thin])], ["image"]
    if read.true is not None:
        true_ids, true_segments, categories = read.true
        pictures.append(draw_panoptic(pictures[0], true_ids[thin], true_segments, categories))
        titles.append("ground truth")
    pictures.append(draw_panoptic(pictures[0], ids[thin], segments, predictor.categories))
    return side_by_side(pictures, [*titles, "prediction"])
