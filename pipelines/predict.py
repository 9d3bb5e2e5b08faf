"""`predict`: images → COCO panoptic PNGs and JSON, with overlays and attention on request."""

from __future__ import annotations

import json
import sys
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from aunet.errors import InputError
from pipelines import storage

if TYPE_CHECKING:
    import numpy as np

    from aunet.data.coco_json import PanopticAnnotations
    from aunet.predictor import Predictor, Result

SUFFIXES = (".jpg", ".jpeg", ".png")
MODEL_FILES = ("model.safetensors", "model.pt2")
"""A model folder has one of them: trained, or exported."""


def predict(
    model: str,
    images: str,
    out: str,
    overlays: bool = False,
    attention: bool = False,
    panoptic_json: str | None = None,
    panoptic_dir: str | None = None,
    image_info: str | None = None,
) -> dict[str, Any]:
    """Label every JPEG and PNG below `images` with a model.

    Args:
        model: a model folder's URI, a run's URI, or `models:/name@alias`.
        images: a folder's URI, or one image's.
        out: where `panoptic/*.png`, `panoptic.json`, `overlays/*.png` and `attention/*.png` go.
        overlays: also draw image and prediction side by side; with ground truth where it is given.
        attention: also draw the attention maps over the image (Figure 6).
        panoptic_json: ground truth in COCO panoptic format; its image ids are taken over.
        panoptic_dir: folder of its PNGs.
        image_info: JSON in COCO format that lists the images to label, annotated or not; its image ids are taken over.

    Returns:
        `panoptic_json`, `panoptic_dir`, `overlays`, `attention` (URIs) and `images` (how many).

    Raises:
        InputError: there is no such model or image, or a file cannot be read; every problem is named. Or `attention`
            is asked of a network that has none.
    """
    from aunet.data.coco_panoptic import encode_panoptic
    from aunet.drawing_attention import draw_attention
    from pipelines.evaluate import encode_png, load_predictor

    truth = _truth(panoptic_json, panoptic_dir)
    if image_info:
        numbers = _listed(image_info, images)
    else:
        numbers = {r.file_name: r.image_id for r in truth.images} if truth else {}
    names = list(numbers) if image_info else image_names(images)
    predictor = load_predictor(model_folder(model))
    if attention and not (predictor.config.attention.pam or predictor.config.attention.mam):
        raise InputError(
            f"--attention: {model} has none (model.attention.pam and .mam are false); leave the option out, "
            "or give a model that was trained with one of them"
        )
    records, annotations, problems = [], [], []
    started = time.monotonic()
    for number, name in enumerate(names, start=1):
        try:
            array = decode(images, name)
        except InputError as error:
            problems.append(f"{storage.join(images, name)}: {error}")
            continue
        result = predictor([array])[0]
        image_id, png = numbers.get(name, number), str(PurePosixPath(name).with_suffix(".png"))
        ids = result.panoptic.ids.cpu().numpy()
        storage.write_bytes(storage.join(out, "panoptic", png), encode_panoptic(ids))
        records.append({"id": image_id, "file_name": name, "height": array.shape[0], "width": array.shape[1]})
        segments = [segment.to_json() for segment in result.panoptic.segments]
        annotations.append({"image_id": image_id, "file_name": png, "segments_info": segments})
        if overlays:
            picture = encode_png(_picture(predictor, array, result, truth, panoptic_dir, name))
            storage.write_bytes(storage.join(out, "overlays", png), picture)
        if attention:
            picture = encode_png(draw_attention(array, result.attention))
            storage.write_bytes(storage.join(out, "attention", png), picture)
        if number % 20 == 0 or number == len(names):
            rate = number / (time.monotonic() - started)
            print(f"predict · {number}/{len(names)} images · {rate:.1f} img/s", file=sys.stderr)
    if problems:
        raise InputError(problems)
    document = {"images": records, "annotations": annotations, "categories": predictor.categories.to_json()}
    storage.write_bytes(storage.join(out, "panoptic.json"), json.dumps(document).encode())
    return {
        "images": len(records),
        "panoptic_json": storage.join(out, "panoptic.json"),
        "panoptic_dir": storage.join(out, "panoptic"),
        "overlays": storage.join(out, "overlays") if overlays else None,
        "attention": storage.join(out, "attention") if attention else None,
    }


def model_folder(model: str) -> str:
    """The folder that `--model` stands for.

    Raises:
        InputError: there is no model.
    """
    if model.startswith("models:/"):
        from pipelines.tracking import resolve_model

        return resolve_model(model)
    for folder in (model, storage.join(model, "model")):
        if any(storage.exists(storage.join(folder, name)) for name in MODEL_FILES):
            return folder
    raise InputError(
        f"--model {model}: no {' or '.join(MODEL_FILES)} there; give a model folder, a run or models:/name@alias"
    )


def image_names(images: str) -> list[str]:
    """Paths of the JPEG and PNG files below `images`.

    Raises:
        InputError: there are none.
    """
    if not storage.exists(images):
        raise InputError(f"--images {images}: no such folder; give a folder of JPEG or PNG files")
    names = [f.path for f in storage.list_files(images) if f.path.lower().endswith(SUFFIXES)]
    if not names:
        raise InputError(f"--images {images}: no {', '.join(SUFFIXES)} files in it; give a folder of images")
    return names


def _listed(image_info: str, images: str) -> dict[str, int]:
    """file name → image id of the images that a JSON lists, all of them below `images`."""
    from aunet.data.coco_json import read_image_info

    numbers = read_image_info(storage.read_bytes(image_info), image_info)
    there = {file.path for file in storage.list_files(images)}
    if missing := [name for name in numbers if name not in there]:
        raise InputError(
            f"{storage.join(images, name)}: missing, image {numbers[name]} of {image_info}; add it or drop the entry"
            for name in missing
        )
    return numbers


def decode(images: str, name: str) -> np.ndarray:
    """uint8[H, W, 3] of one of the files.

    Raises:
        InputError: it is no picture.
    """
    from aunet.data.coco_panoptic import decode_image

    return decode_image(storage.read_bytes(storage.join(images, name)))


def _truth(panoptic_json: str | None, panoptic_dir: str | None) -> PanopticAnnotations | None:
    from aunet.data.coco_json import read_panoptic_json

    if (panoptic_json is None) != (panoptic_dir is None):
        raise InputError("--panoptic-json and --panoptic-dir belong together; give both or none")
    return read_panoptic_json(storage.read_bytes(panoptic_json), panoptic_json) if panoptic_json else None


def _picture(
    predictor: Predictor,
    image: np.ndarray,
    result: Result,
    truth: PanopticAnnotations | None,
    panoptic_dir: str | None,
    name: str,
) -> np.ndarray:
    from aunet.data.coco_panoptic import decode_panoptic
    from aunet.drawing import draw_panoptic, side_by_side

    pictures, titles = [image], ["image"]
    record = next((r for r in truth.images if r.file_name == name), None) if truth else None
    if record is not None and truth is not None and panoptic_dir is not None:
        ids = decode_panoptic(storage.read_bytes(storage.join(panoptic_dir, record.panoptic_name)))
        segments = [s.to_segment(truth.categories) for s in record.segments]
        pictures.append(draw_panoptic(image, ids, segments, truth.categories))
        titles.append("ground truth")
    ids = result.panoptic.ids.cpu().numpy()
    pictures.append(draw_panoptic(image, ids, result.panoptic.segments, predictor.categories))
    return side_by_side(pictures, [*titles, "prediction"])
