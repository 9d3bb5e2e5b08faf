"""`score`: predictions against ground truth, two folders in COCO panoptic format, as panopticapi evaluates them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aunet.categories import Categories, Category
from aunet.data.coco_entries import parse_json, read_annotations, read_categories, read_segments
from aunet.data.coco_json import problem
from aunet.data.coco_panoptic import decode_panoptic, swapped_channels
from aunet.data.defects import RULES, Defect, errors_of
from aunet.errors import InputError
from aunet.evaluation.overlap import measure_overlap
from aunet.evaluation.panoptic_quality import PanopticQuality
from aunet.segments import Segment
from pipelines.pages.tables import print_quality
from pipelines.store import storage
from pipelines.store.artifacts import VerbResult
from pipelines.store.listing import Listing

MAX_PROBLEMS = 20
"""Problems listed before the others are only counted."""
UNCHECKED_RULES = ("category-name-repeated", "category-unknown", "crowd-stuff")
"""Rules that panopticapi does not check, or that the comparison reports itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score(VerbResult):
    """What predictions are worth, in per cent."""

    metrics: dict[str, float]
    """`PQ SQ RQ PQ_th … RQ_st`."""
    per_class: tuple[dict[str, Any], ...]
    """A row per category."""
    images: int
    """Number of images that were compared."""

    def to_json(self) -> dict[str, Any]:
        """The metrics by name, the rows and the number of images."""
        return {**self.metrics, "per_class": list(self.per_class), "images": self.images}


@dataclass(frozen=True, slots=True)
class AnnotatedMap:
    """One image's panoptic map: its PNG and the meaning of its ids."""

    image_id: int | str
    folder: Listing
    file_name: str
    """Of the PNG, below the folder."""
    segments: tuple[Segment, ...]

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"image {self.image_id} ({self.file_name})"


def score(gt_json: str | Path, gt_dir: str | Path, pred_json: str | Path, pred_dir: str | Path) -> Score:
    """Compare every image of the ground truth with its prediction and print a table on stderr.

    Predictions for other images are ignored. Images are decoded by as many threads as there are CPUs: decoding and
    counting release the interpreter, and processes would take seconds to start.

    Args:
        gt_json: panoptic JSON with `annotations` and `categories`.
        gt_dir: folder of its PNGs.
        pred_json: panoptic JSON with `annotations`; it may be the one of `gt_json`.
        pred_dir: folder of its PNGs.

    Raises:
        InputError: a file or a prediction is missing, or maps and JSON do not fit each other; one line per problem.
    """
    true_document = _read_document(gt_json, "--gt-json", ("annotations", "categories"))
    predicted_document = _read_document(pred_json, "--pred-json", ("annotations",))
    folders = _listed({"--gt-dir": gt_dir, "--pred-dir": pred_dir})
    categories = _read_categories(true_document["categories"], str(gt_json))
    problems: list[str] = []
    true = _annotated_maps(true_document["annotations"], gt_json, folders["--gt-dir"], categories.by_id, problems)
    predicted = _annotated_maps(
        predicted_document["annotations"], pred_json, folders["--pred-dir"], categories.by_id, problems
    )
    if not true and not problems:
        raise InputError(f"{gt_json}: `annotations` is empty; there is nothing to score")
    problems += [
        f"{pred_json}: no prediction for {true[i].name}; add an annotation with this image_id"
        for i in true
        if i not in predicted
    ]
    pairs = [(true_map, predicted[i]) for i, true_map in true.items() if i in predicted]

    total = PanopticQuality(categories)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for outcome in threads.map(lambda pair: _compare(pair[0], pair[1], categories), pairs):
            if isinstance(outcome, list):
                problems += outcome
            else:
                total.merge(outcome)
    if problems:
        num_hidden = len(problems) - MAX_PROBLEMS
        raise InputError([*problems[:MAX_PROBLEMS], *([f"… and {num_hidden} more"] if num_hidden > 0 else [])])
    quality = total.compute()
    print_quality(quality.metrics(), quality.rows(), f"{len(pairs)} images")
    return Score(metrics=quality.metrics(), per_class=tuple(quality.rows()), images=len(pairs))


def _read_document(path: str | Path, flag: str, lists: tuple[str, ...]) -> dict[str, Any]:
    """The JSON of a file, which holds all of `lists`."""
    source_name = f"{flag} {path}"
    try:
        data = storage.read_bytes(str(path))
    except InputError as error:
        raise InputError(f"{flag} {message}" for message in error.problems) from None
    except OSError as error:
        raise InputError(f"{source_name}: cannot be read ({error.strerror}); name a panoptic JSON") from None
    defects: list[Defect] = []
    document = parse_json(data, source_name, lists, defects, "panoptic")
    if document is None:
        raise InputError(problem(defect, source_name) for defect in defects)
    return document


def _listed(folders: dict[str, str | Path]) -> dict[str, Listing]:
    """Flag → the folder of panoptic PNGs that it names."""
    listings, problems = {}, []
    for flag, folder in folders.items():
        try:
            listings[flag] = Listing(str(folder))
        except InputError as error:
            problems += [f"{flag} {message}" for message in error.problems]
    if problems:
        raise InputError(problems)
    return listings


def _read_categories(entries: list[Any], source_name: str) -> Categories:
    defects: list[Defect] = []
    categories = read_categories(entries, source_name, defects)
    if problems := _problems(defects, source_name):
        raise InputError(problems)
    return Categories(tuple(categories.values()))


def _annotated_maps(
    entries: list[Any],
    path: str | Path,
    folder: Listing,
    categories: Mapping[int, Category],
    problems: list[str],
) -> dict[int | str, AnnotatedMap]:
    """Image id → map; what cannot be read goes to `problems`."""
    defects: list[Defect] = []
    maps = {}
    for image_id, annotation in read_annotations(entries, str(path), defects).items():
        segments = tuple(read_segments(image_id, annotation, categories, defects))
        if "file_name" in annotation:
            maps[image_id] = AnnotatedMap(image_id, folder, annotation["file_name"], segments)
    problems += _problems(defects, str(path))
    return maps


def _problems(defects: list[Defect], source_name: str) -> list[str]:
    return [problem(error, source_name) for error in errors_of(defects) if error.rule not in UNCHECKED_RULES]


def _is_bgr(ids: NDArray[np.int32], segments: tuple[Segment, ...]) -> bool:
    """Whether the ids of a map are those of its segments once two channels are swapped."""
    listed, used = {segment.id for segment in segments}, set(np.unique(ids).tolist()) - {0}
    return used != listed and swapped_channels(used) == listed


def _compare(true: AnnotatedMap, predicted: AnnotatedMap, categories: Categories) -> PanopticQuality | list[str]:
    """The counts of one image, or its problems."""
    maps, problems = [], []
    for role, own in (("ground truth", true), ("prediction", predicted)):
        data = own.folder.read(own.file_name)
        if isinstance(data, OSError):
            problems.append(f"{true.name}: {role}: {own.file_name}: {data}; add it or drop its annotation")
            continue
        try:
            maps.append(decode_panoptic(data))
        except InputError as error:
            problems.append(f"{true.name}: {role}: {own.file_name}: {error}")
    if problems:
        return problems
    true_ids, predicted_ids = maps
    try:
        overlap = measure_overlap(predicted_ids, predicted.segments, true_ids, true.segments, categories)
    except InputError as error:
        roles = (("ground truth", true_ids, true.segments), ("prediction", predicted_ids, predicted.segments))
        rule = RULES["map-bgr"]
        swapped = [f"{role}: {rule.what}; {rule.cure}" for role, ids, segments in roles if _is_bgr(ids, segments)]
        return [f"{true.name}: {message}" for message in swapped or error.problems]
    segment_ids = sorted(segment.id for segment in true.segments)
    areas = overlap.pixels.sum(1)[1:].tolist()
    empty = [i for i, area in zip(segment_ids, areas, strict=True) if area == 0]
    if empty:
        return [
            f"{true.name}: ground truth: segment {i} is listed (JSON) but has no pixel in the map (PNG); remove it"
            for i in empty
        ]
    quality = PanopticQuality(categories)
    quality.add(overlap)
    return quality
