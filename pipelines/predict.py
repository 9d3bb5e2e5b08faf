"""`predict`: images → COCO panoptic PNGs and JSON, with overlays and attention on request."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aunet.data.coco_json import PanopticAnnotations, read_image_info, read_panoptic_json
from aunet.data.coco_panoptic import decode_panoptic, encode_panoptic
from aunet.drawing import draw_panoptic, side_by_side
from aunet.drawing_attention import draw_attention
from aunet.errors import InputError
from aunet.predictor import Predictor, Result
from pipelines.measuring.images import image_names, read_image
from pipelines.measuring.models import load_predictor, model_folder
from pipelines.pages.pictures import encode_png
from pipelines.store import storage
from pipelines.store.artifacts import VerbResult
from pipelines.store.run_folder import ATTENTION, OVERLAYS

PANOPTIC, DOCUMENT = "panoptic", "panoptic.json"
"""Folder of the PNGs and the JSON, below the output folder."""


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


def predict(
    model: str,
    images: str,
    out: str,
    overlays: bool = False,
    attention: bool = False,
    panoptic_json: str | None = None,
    panoptic_dir: str | None = None,
    image_info: str | None = None,
    *,
    load: Callable[[str], Predictor] = load_predictor,
) -> Predictions:
    """Label every JPEG and PNG below `images` with a model.

    Args:
        model: a model folder's URI, a run's URI, or `models:/name@alias`.
        images: a folder's URI, or one image's.
        out: where `panoptic/*.png`, `panoptic.json`, `overlays/*.png` and `attention/*.png` go.
        overlays: also draw image and prediction side by side; with ground truth where it is given.
        attention: also draw the attention maps over the image (Figure 6).
        panoptic_json: ground truth in COCO panoptic format; its image ids are used.
        panoptic_dir: folder of its PNGs.
        image_info: JSON in COCO format that lists the images to label, annotated or not; its image ids are used.
        load: gives the predictor of a model folder.

    Raises:
        InputError: there is no such model or image, or a file cannot be read; every problem is named. Or `attention`
            is asked of a network that has none.
    """
    truth = _read_truth(panoptic_json, panoptic_dir)
    if image_info:
        image_ids = _listed_images(image_info, images)
    else:
        image_ids = {record.file_name: record.image_id for record in truth.annotations.images} if truth else {}
    names = list(image_ids) if image_info else image_names(images)
    predictor = load(model_folder(model))
    if attention and not (predictor.config.attention.pam or predictor.config.attention.mam):
        raise InputError(
            f"--attention: {model} has none (model.attention.pam and .mam are false); leave the option out, "
            "or give a model that was trained with one of them"
        )
    records, annotations, problems = [], [], []
    started = time.monotonic()
    for number, name in enumerate(names, start=1):
        try:
            image = read_image(images, name)
        except InputError as error:
            problems.append(f"{storage.join(images, name)}: {error}")
            continue
        prediction = predictor([image])[0]
        image_id, png = image_ids.get(name, number), str(PurePosixPath(name).with_suffix(".png"))
        ids = prediction.panoptic.ids.cpu().numpy()
        storage.write_bytes(storage.join(out, PANOPTIC, png), encode_panoptic(ids))
        records.append({"id": image_id, "file_name": name, "height": image.shape[0], "width": image.shape[1]})
        segments = [segment.to_json() for segment in prediction.panoptic.segments]
        annotations.append({"image_id": image_id, "file_name": png, "segments_info": segments})
        if overlays:
            picture = _draw(predictor, image, prediction, truth, name)
            storage.write_bytes(storage.join(out, OVERLAYS, png), encode_png(picture))
        if attention:
            picture = draw_attention(image, prediction.attention)
            storage.write_bytes(storage.join(out, ATTENTION, png), encode_png(picture))
        if number % 20 == 0 or number == len(names):
            rate = number / (time.monotonic() - started)
            print(f"predict · {number}/{len(names)} images · {rate:.1f} img/s", file=sys.stderr)
    if problems:
        raise InputError(problems)
    document: dict[str, Any] = {
        "images": records,
        "annotations": annotations,
        "categories": predictor.categories.to_json(),
    }
    storage.write_bytes(storage.join(out, DOCUMENT), json.dumps(document).encode())
    return Predictions(
        images=len(records),
        panoptic_json=storage.join(out, DOCUMENT),
        panoptic_dir=storage.join(out, PANOPTIC),
        overlays=storage.join(out, OVERLAYS) if overlays else None,
        attention=storage.join(out, ATTENTION) if attention else None,
    )


def _listed_images(image_info: str, images: str) -> dict[str, int]:
    """file name → image id of the images that a JSON lists, all of them below `images`."""
    image_ids = read_image_info(storage.read_bytes(image_info), image_info)
    names = {file.path for file in storage.list_files(images)}
    if missing := [name for name in image_ids if name not in names]:
        raise InputError(
            f"{storage.join(images, name)}: missing, image {image_ids[name]} of {image_info}; add it or drop the entry"
            for name in missing
        )
    return image_ids


def _read_truth(panoptic_json: str | None, panoptic_dir: str | None) -> _Truth | None:
    if panoptic_json is None and panoptic_dir is None:
        return None
    if panoptic_json is None or panoptic_dir is None:
        raise InputError("--panoptic-json and --panoptic-dir belong together; give both or none")
    annotations = read_panoptic_json(storage.read_bytes(panoptic_json), panoptic_json)
    return _Truth(annotations=annotations, panoptic_dir=panoptic_dir)


def _draw(
    predictor: Predictor, image: NDArray[np.uint8], prediction: Result, truth: _Truth | None, name: str
) -> NDArray[np.uint8]:
    """Image, ground truth where it is known, and prediction side by side."""
    pictures, titles = [image], ["image"]
    record = next((record for record in truth.annotations.images if record.file_name == name), None) if truth else None
    if truth is not None and record is not None:
        ids = decode_panoptic(storage.read_bytes(storage.join(truth.panoptic_dir, record.panoptic_name)))
        pictures.append(draw_panoptic(image, ids, record.segments, truth.annotations.categories))
        titles.append("ground truth")
    ids = prediction.panoptic.ids.cpu().numpy()
    pictures.append(draw_panoptic(image, ids, prediction.panoptic.segments, predictor.categories))
    return side_by_side(pictures, [*titles, "prediction"])
