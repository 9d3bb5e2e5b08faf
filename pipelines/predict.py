"""`predict`: images → COCO panoptic PNGs and JSON, with overlays and attention on request."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aunet.data.coco_json import read_image_info
from aunet.data.pictures import MAX_PIXELS
from aunet.errors import InputError, check
from aunet.predictor import Predictor
from pipelines.measuring.image_labels import (
    FolderLabels,
    GroundTruth,
    ImageEntry,
    check_apart,
    check_attention,
    number_images,
)
from pipelines.measuring.images import image_files
from pipelines.measuring.label_job import label_images, remove_parts
from pipelines.measuring.models import load_predictor
from pipelines.measuring.named_models import model_folder
from pipelines.measuring.prepared_images import prepared_images
from pipelines.measuring.submission import Kind, ServerSubmission, write_submission
from pipelines.store import storage
from pipelines.store.artifacts import VerbResult
from pipelines.store.listing import Listing
from pipelines.store.predictions_folder import DOCUMENT, PredictionsFolder
from pipelines.store.run_folder import ATTENTION, OVERLAYS
from pipelines.store.staging import staged


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions(VerbResult):
    """A folder of panoptic maps in COCO format."""

    images: int
    """How many."""
    images_per_s: float
    """Of those that this call has labelled, the model's loading included."""
    panoptic_json: str
    panoptic_dir: str
    overlays: str | None
    attention: str | None
    """URI of their folder, as of the overlays; None: not asked for."""
    submission: str | None = None
    """URI of the zip for a test server."""


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
    workers: int | None = None,
    submission: str | None = None,
    submission_kind: Kind = "coco",
    *,
    load: Callable[..., Predictor] = load_predictor,
) -> Predictions:
    """Label every JPEG and PNG below `images` with a model.

    Args:
        model: a model folder's URI, a run's URI, or `models:/name@alias`.
        images: a folder's URI, or one image's, or that of prepared data, of which all splits are labelled.
        out: outside of `images`; where `panoptic/*.png`, `panoptic.json`, `overlays/*.png` and `attention/*.png` go.
        overlays: also draw image and prediction side by side; with ground truth where it is given.
        attention: also draw the attention maps over the image (Figure 6).
        panoptic_json: ground truth in COCO panoptic format; its image ids are used.
        panoptic_dir: folder of its PNGs.
        image_info: JSON in COCO format that lists the images to label, annotated or not; its image ids are used.
        trust_exported: also load a program that `export` wrote. It is code, and can do whatever its maker wants.
        max_pixels: of an image; larger ones are not decoded. None: `aunet.data.pictures.MAX_PIXELS`.
        workers: processes of Ray, on whatever machines the cluster has, that label at the same time; None: this one.
        submission: name of the method: the predictions are also written as the zip that a test server wants, checked.
        submission_kind: of the server: `coco` (test-dev, with `image_info`) or `cityscapes`.
        load: gives the predictor of a model folder.

    Everything appears at once, when all images are labelled; an error leaves `out` as it was. With `workers` an
    earlier JSON is deleted before the first PNG appears, and the new one comes last; the same call goes on where a
    killed one stopped. Images that cannot be read are reported at the end, when all others have been written.

    Raises:
        InputError: there is no such model or image, or a file cannot be read; every problem is named. Or `attention`
            is asked of a network that has none. Or the predictions are not what the test server wants.
    """
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    check(limit > 0, "--max-pixels", max_pixels, "give a positive number")
    check(workers is None or workers > 0, "--workers", workers, "give a positive number, or leave it out")
    wanted = ServerSubmission(name=submission, kind=submission_kind, image_info=image_info) if submission else None
    truth = _read_truth(panoptic_json, panoptic_dir)
    prepared = prepared_images(images)
    if prepared is not None:
        _check_prepared(images, {"--image-info": image_info, "--panoptic-json": panoptic_json})
        folder, names, image_ids = images, list(prepared.rows), prepared.image_ids
        check_apart(out, images)
    elif image_info:
        folder, image_ids = _listed_images(image_info, images)
        names = list(image_ids)
    else:
        folder, names = image_files(images)
        image_ids = {record.file_name: record.image_id for record in truth.annotations.images} if truth else {}
        check_apart(out, images)
    folder = storage.absolute(folder)  # workers are in other folders
    labels = FolderLabels(
        folder=folder, max_pixels=limit, overlays=overlays, attention=attention, truth=truth, prepared=prepared
    )
    entries, started = number_images(names, image_ids), time.monotonic()
    model_uri = storage.absolute(model_folder(model))
    if workers is None:
        predictor = load(model_uri, trust_exported=trust_exported)
        if attention:
            check_attention(predictor, model)
        with staged(out, DOCUMENT) as target:
            lines, problems = _label_here(predictor, labels, entries, target)
            _write_document(target, lines, problems, predictor.categories.to_json())
        num_new = len(entries)
    else:
        absolute = storage.absolute(out)
        lines, problems, categories, num_new = label_images(
            model, model_uri, labels, entries, absolute, workers, trust_exported=trust_exported, more={"load": load}
        )
        _write_document(absolute, lines, problems, categories)
        remove_parts(absolute)
    if problems:
        raise InputError([*problems, f"the other {len(lines)} of {len(names)} images are labelled, in {out}"])
    document, panoptic = PredictionsFolder(out).document_uri, PredictionsFolder(out).panoptic_uri
    archive = write_submission(wanted, document, panoptic, out) if wanted else None
    return Predictions(
        images=len(lines),
        images_per_s=round(num_new / (time.monotonic() - started), 2),
        panoptic_json=document,
        panoptic_dir=panoptic,
        overlays=storage.join(out, OVERLAYS) if overlays else None,
        attention=storage.join(out, ATTENTION) if attention else None,
        submission=archive,
    )


def _label_here(
    predictor: Predictor, labels: FolderLabels, entries: Sequence[ImageEntry], out: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Label images one after the other: the JSON's entries of those that can be read, and the others' problems."""
    lines, problems = [], []
    started = time.monotonic()
    for number, entry in enumerate(entries, start=1):
        try:
            read = labels.read(entry, predictor)
        except InputError as error:
            problems += error.problems
            continue
        lines.append(labels.write(read, predictor, predictor([read.image])[0], out))
        if number % 20 == 0 or number == len(entries):
            rate = number / (time.monotonic() - started)
            print(f"predict · {number}/{len(entries)} images · {rate:.1f} img/s", file=sys.stderr)
    return lines, problems


def _write_document(
    out: str, lines: Sequence[dict[str, Any]], problems: Sequence[str], categories: list[dict[str, Any]]
) -> None:
    """Write the JSON, with which everything is complete.

    Raises:
        InputError: no image could be read.
    """
    if not lines:
        raise InputError(problems)
    document = {
        "images": [line["image"] for line in lines],
        "annotations": [line["annotation"] for line in lines],
        "categories": categories,
    }
    storage.write_bytes(PredictionsFolder(out).document_uri, json.dumps(document).encode())


def _check_prepared(images: str, options: Mapping[str, str | None]) -> None:
    """Refuse options that go by the file names of a folder.

    Raises:
        InputError: some are given.
    """
    if given := [option for option, value in options.items() if value]:
        raise InputError(
            f"{option}: goes by file names of a folder, and --images {images} is prepared data; leave it out"
            for option in given
        )


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


def _read_truth(panoptic_json: str | None, panoptic_dir: str | None) -> GroundTruth | None:
    if panoptic_json is None and panoptic_dir is None:
        return None
    if panoptic_json is None or panoptic_dir is None:
        raise InputError("--panoptic-json and --panoptic-dir belong together; give both or none")
    return GroundTruth.read(panoptic_json, storage.absolute(panoptic_dir))
