"""Ground truth and predictions in COCO panoptic format: their annotations, paired. Needs neither torch nor Ray."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aunet.categories import Categories
from aunet.data.coco_entries import parse_json, read_annotations, read_categories, read_segments
from aunet.data.coco_json import problem
from aunet.data.defects import Defect, errors_of
from aunet.errors import InputError
from aunet.evaluation.overlap import SegmentTable
from pipelines.store import storage
from pipelines.store.listing import Listing

UNCHECKED_RULES = ("category-name-repeated", "category-unknown", "crowd-stuff")
"""Rules that panopticapi does not check, or that the comparison reports itself."""


@dataclass(frozen=True, slots=True)
class AnnotatedMap:
    """One image's panoptic map: its PNG and the meaning of its ids."""

    image_id: int | str
    folder: Listing
    file_name: str
    """Of the PNG, below the folder."""
    segments: SegmentTable

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"image {self.image_id} ({self.file_name})"


@dataclass(frozen=True, slots=True)
class MapPair:
    """The ground truth of an image and its prediction."""

    number: int
    """Its id where all ids are numbers, else its position in the ground truth."""
    true: AnnotatedMap
    predicted: AnnotatedMap


@dataclass(frozen=True, slots=True)
class PairedFolders:
    """Ground truth and predictions, every annotation read, no map yet."""

    categories: Categories
    pairs: tuple[MapPair, ...]
    """One for each image of the ground truth that has a prediction, in its order."""
    problems: tuple[str, ...]
    """What is wrong with the annotations."""

    @classmethod
    def read(
        cls, gt_json: str | Path, gt_dir: str | Path, pred_json: str | Path, pred_dir: str | Path
    ) -> PairedFolders:
        """Read the annotations and list the folders.

        Raises:
            InputError: a file or a folder cannot be read, or there is nothing to compare.
        """
        document = _read_document(gt_json, "--gt-json", ("annotations", "categories"))
        predicted_document = _read_document(pred_json, "--pred-json", ("annotations",))
        folders = _listed({"--gt-dir": gt_dir, "--pred-dir": pred_dir})
        categories = _read_categories(document["categories"], str(gt_json))
        problems: list[str] = []
        true = _annotated_maps(document.pop("annotations"), gt_json, folders["--gt-dir"], categories, problems)
        predicted = _annotated_maps(
            predicted_document.pop("annotations"), pred_json, folders["--pred-dir"], categories, problems
        )
        if not true and not problems:
            raise InputError(f"{gt_json}: `annotations` is empty; there is nothing to score")
        problems += [
            f"{pred_json}: no prediction for {true[i].name}; add an annotation with this image_id"
            for i in true
            if i not in predicted
        ]
        is_numbered = all(isinstance(i, int) for i in true)
        pairs = [
            MapPair(int(i) if is_numbered else n, own, predicted[i])
            for n, (i, own) in enumerate(true.items())
            if i in predicted
        ]
        return cls(categories, tuple(pairs), tuple(problems))


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
    entries: list[Any], path: str | Path, folder: Listing, categories: Categories, problems: list[str]
) -> dict[int | str, AnnotatedMap]:
    """Image id → map; what cannot be read goes to `problems`."""
    defects: list[Defect] = []
    annotations: dict[Any, dict[str, Any]] = {}
    read_annotations(entries, str(path), defects, annotations)
    maps = {}
    for image_id, annotation in annotations.items():
        segments = SegmentTable.of(read_segments(image_id, annotation, categories.by_id, defects), categories)
        if "file_name" in annotation:
            maps[image_id] = AnnotatedMap(image_id, folder, annotation["file_name"], segments)
    problems += _problems(defects, str(path))
    return maps


def _problems(defects: list[Defect], source_name: str) -> list[str]:
    return [problem(error, source_name) for error in errors_of(defects) if error.rule not in UNCHECKED_RULES]
