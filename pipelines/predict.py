"""`predict`: images → COCO panoptic PNGs and JSON, with overlays and attention on request."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aunet.categories import Categories
from aunet.data.coco_json import ImageRecord, PanopticAnnotations, read_image_info, read_panoptic_json
from aunet.data.coco_panoptic import decode_panoptic, encode_panoptic
from aunet.data.pictures import MAX_PIXELS
from aunet.drawing import draw_panoptic, side_by_side
from aunet.drawing_attention import draw_attention
from aunet.errors import InputError, check
from aunet.predictor import Predictor
from aunet.segments import Segment
from pipelines.measuring.images import image_files, read_image
from pipelines.measuring.models import load_predictor, model_folder
from pipelines.pages.pictures import encode_png
from pipelines.store import storage
from pipelines.store.artifacts import VerbResult
from pipelines.store.listing import Listing
from pipelines.store.run_folder import ATTENTION, OVERLAYS
from pipelines.store.staging import staged

PANOPTIC, DOCUMENT = "panoptic", "panoptic.json"
"""Folder of the PNGs and the JSON, below the output folder."""
OVERLAY_SIDE = 4096
"""Overlays of larger images show every second, third, … pixel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions(VerbResult):
    """A folder of panoptic maps in COCO format."""

    images: int
    """How many."""
    panoptic_json: str
    panoptic_dir: str
    overlays: str | None
    attention: str | None
    """URI of their folder, as of the overlays; None: not asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Truth:
    """Ground truth to be shown beside the predictions."""

    annotations: PanopticAnnotations
    panoptic_dir: str
    by_file_name: dict[str, ImageRecord]


_TrueMap = tuple[NDArray[np.int32], Sequence[Segment], Categories]
"""int32[H, W], its segments, and their categories."""


def predict(
    model: str,
    images: str,
    out: str,
    overlays: bool = False,
    attention: bool = False,
    panoptic_json: str | None = None,
    panoptic_dir: str | None = None,
    image_info: str | None = None,
    trust_exported: bool = False,
    max_pixels: int | None = None,
    *,
    load: Callable[..., Predictor] = load_predictor,
) -> Predictions:
    """Label every JPEG and PNG below `images` with a model.

    Args:
        model: a model folder's URI, a run's URI, or `models:/name@alias`.
        images: a folder's URI, or one image's.
        out: outside of `images`; where `panoptic/*.png`, `panoptic.json`, `overlays/*.png` and `attention/*.png` go.
        overlays: also draw image and prediction side by side; with ground truth where it is given.
        attention: also draw the attention maps over the image (Figure 6).
        panoptic_json: ground truth in COCO panoptic format; its image ids are used.
        panoptic_dir: folder of its PNGs.
        image_info: JSON in COCO format that lists the images to label, annotated or not; its image ids are used.
        trust_exported: also load a program that `export` wrote. It is code, and can do whatever its maker wants.
        max_pixels: of an image; larger ones are not decoded. None: `aunet.data.pictures.MAX_PIXELS`.
        load: gives the predictor of a model folder.

    Everything appears at once, when all images are labelled; an error leaves `out` as it was. Images that cannot be
    read are reported at the end, when all others have been written.

    Raises:
        InputError: there is no such model or image, or a file cannot be read; every problem is named. Or `attention`
            is asked of a network that has none.
    """
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    check(limit > 0, "--max-pixels", max_pixels, "give a positive number")
    truth = _read_truth(panoptic_json, panoptic_dir)
    if image_info:
        folder, image_ids = _listed_images(image_info, images)
        names = list(image_ids)
    else:
        folder, names = image_files(images)
        image_ids = {record.file_name: record.image_id for record in truth.annotations.images} if truth else {}
        _check_apart(out, images)
    predictor = load(model_folder(model), trust_exported=trust_exported)
    if attention and not (predictor.config.attention.pam or predictor.config.attention.mam):
        raise InputError(
            f"--attention: {model} has none (model.attention.pam and .mam are false); leave the option out, "
            "or give a model that was trained with one of them"
        )
    known_ids = set(image_ids.values())
    free_ids = (number for number in itertools.count(1) if number not in known_ids)
    png_names = _png_names(names)
    records, annotations, problems = [], [], []
    started = time.monotonic()
    with staged(out, DOCUMENT) as target:
        for number, name in enumerate(names, start=1):
            image_id, png = image_ids[name] if name in image_ids else next(free_ids), png_names[name]
            try:
                image = read_image(folder, name, limit)
                true = _true_map(truth, name, image.shape[:2]) if truth and overlays else None
            except InputError as error:
                problems += [f"{storage.join(folder, name)}: {problem}" for problem in error.problems]
                continue
            result = predictor([image])[0]
            ids = result.panoptic.ids.cpu().numpy()
            storage.write_bytes(storage.join(target, PANOPTIC, png), encode_panoptic(ids))
            records.append({"id": image_id, "file_name": name, "height": image.shape[0], "width": image.shape[1]})
            segments = [segment.to_json() for segment in result.panoptic.segments]
            annotations.append({"image_id": image_id, "file_name": png, "segments_info": segments})
            if overlays:
                picture = _draw(predictor, image, ids, result.panoptic.segments, true)
                storage.write_bytes(storage.join(target, OVERLAYS, png), encode_png(picture))
            if attention:
                picture = draw_attention(image, result.attention)
                storage.write_bytes(storage.join(target, ATTENTION, png), encode_png(picture))
            if number % 20 == 0 or number == len(names):
                rate = number / (time.monotonic() - started)
                print(f"predict · {number}/{len(names)} images · {rate:.1f} img/s", file=sys.stderr)
        if not records:
            raise InputError(problems)
        document: dict[str, Any] = {
            "images": records,
            "annotations": annotations,
            "categories": predictor.categories.to_json(),
        }
        storage.write_bytes(storage.join(target, DOCUMENT), json.dumps(document).encode())
    if problems:
        raise InputError([*problems, f"the other {len(records)} of {len(names)} images are labelled, in {out}"])
    return Predictions(
        images=len(records),
        panoptic_json=storage.join(out, DOCUMENT),
        panoptic_dir=storage.join(out, PANOPTIC),
        overlays=storage.join(out, OVERLAYS) if overlays else None,
        attention=storage.join(out, ATTENTION) if attention else None,
    )


def _check_apart(out: str, images: str) -> None:
    """Refuse results among the images: a second run would label them, too."""
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


def _listed_images(image_info: str, images: str) -> tuple[str, dict[str, int]]:
    """The images' folder, and file name → image id of the images that a JSON lists: all, or the one that is given."""
    image_ids = read_image_info(storage.read_bytes(image_info), image_info)
    folder, names = image_files(images)
    if folder != images:
        (name,) = names
        if name not in image_ids:
            raise InputError(
                f"--images {images}: {image_info} does not list it; add it there, or leave --image-info out"
            )
        return folder, {name: image_ids[name]}
    listing = Listing(images)
    if missing := [name for name in image_ids if name not in listing.names]:
        raise InputError(
            f"{storage.join(images, name)}: missing, image {image_ids[name]} of {image_info}{listing.hint(name)}; "
            "add it or drop the entry"
            for name in missing
        )
    return images, image_ids


def _read_truth(panoptic_json: str | None, panoptic_dir: str | None) -> _Truth | None:
    if panoptic_json is None and panoptic_dir is None:
        return None
    if panoptic_json is None or panoptic_dir is None:
        raise InputError("--panoptic-json and --panoptic-dir belong together; give both or none")
    annotations = read_panoptic_json(storage.read_bytes(panoptic_json), panoptic_json)
    by_file_name = {record.file_name: record for record in annotations.images}
    return _Truth(annotations=annotations, panoptic_dir=panoptic_dir, by_file_name=by_file_name)


def _true_map(truth: _Truth, name: str, size: tuple[int, ...]) -> _TrueMap | None:
    """The ground truth of an image of (height, width), where it has one.

    Raises:
        InputError: it cannot be read, or is that of an image of another size.
    """
    record = truth.by_file_name.get(name)
    if record is None:
        return None
    uri = storage.join(truth.panoptic_dir, record.panoptic_name)
    ids = decode_panoptic(storage.read_bytes(uri))
    if ids.shape != size:
        raise InputError(
            f"has {size[1]}×{size[0]} pixels, its ground truth {uri} {ids.shape[1]}×{ids.shape[0]}; correct one"
        )
    return ids, record.segments, truth.annotations.categories


def _draw(
    predictor: Predictor,
    image: NDArray[np.uint8],
    ids: NDArray[np.integer],
    segments: Sequence[Segment],
    true: _TrueMap | None,
) -> NDArray[np.uint8]:
    """Image, ground truth where it is known, and prediction side by side."""
    step = -(-max(ids.shape) // OVERLAY_SIDE)
    thin = (slice(None, None, step), slice(None, None, step))
    pictures, titles = [np.ascontiguousarray(image[thin])], ["image"]
    if true is not None:
        true_ids, true_segments, categories = true
        pictures.append(draw_panoptic(pictures[0], true_ids[thin], true_segments, categories))
        titles.append("ground truth")
    pictures.append(draw_panoptic(pictures[0], ids[thin], segments, predictor.categories))
    return side_by_side(pictures, [*titles, "prediction"])
