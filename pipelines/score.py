"""Score predictions against ground truth, two folders in COCO panoptic format, as panopticapi's evaluation does."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aunet.errors import InputError
from pipelines.pages.tables import print_quality

if TYPE_CHECKING:
    from aunet.categories import Categories
    from aunet.evaluation.panoptic_quality import PanopticQuality
    from aunet.structures import Segment

MAX_PROBLEMS = 20
"""Problems listed before the rest is only counted."""


def score(gt_json: str | Path, gt_dir: str | Path, pred_json: str | Path, pred_dir: str | Path) -> dict[str, Any]:
    """Compare every image of the ground truth with its prediction and print a table on stderr.

    Predictions for other images are not looked at. Images are decoded by as many threads as there are CPUs: decoding
    and counting release the interpreter, and processes would take seconds to start.

    Args:
        gt_json: panoptic JSON with `annotations` and `categories`.
        gt_dir: folder of its PNGs.
        pred_json: panoptic JSON with `annotations`; it may be the one of `gt_json`.
        pred_dir: folder of its PNGs.

    Returns:
        `PQ SQ RQ PQ_th … RQ_st` in per cent, `per_class` (a row per category) and `images`, their number.

    Raises:
        InputError: a file or a prediction is missing, or maps and JSON do not fit each other; one line per problem.
    """
    from concurrent.futures import ThreadPoolExecutor

    from aunet.categories import Categories
    from aunet.evaluation.panoptic_quality import PanopticQuality

    true_json, found_json = _read_json(gt_json, "--gt-json"), _read_json(pred_json, "--pred-json")
    folders = (("--gt-dir", gt_dir), ("--pred-dir", pred_dir))
    missing = [f"{flag} {folder}: no such folder" for flag, folder in folders if not Path(folder).is_dir()]
    if missing:
        raise InputError([f"{problem}; name the folder of the panoptic PNGs" for problem in missing])
    if not isinstance(true_json.get("categories"), list):
        raise InputError(f"{gt_json}: lacks the list `categories`; give the data set's own panoptic JSON")
    categories = Categories.from_json(true_json["categories"], str(gt_json))
    problems: list[str] = []
    true = _annotations(true_json, gt_json, gt_dir, categories, problems)
    found = _annotations(found_json, pred_json, pred_dir, categories, problems)
    if not true and not problems:
        raise InputError(f"{gt_json}: `annotations` is empty; there is nothing to score")
    problems += [
        f"{pred_json}: no prediction for image {i} ({true[i].png.name}); add an annotation with this image_id"
        for i in true
        if i not in found
    ]
    pairs = [(annotation, found[i]) for i, annotation in true.items() if i in found]

    total = PanopticQuality(categories)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for outcome in threads.map(lambda pair: _compare(pair[0], pair[1], categories), pairs):
            if isinstance(outcome, list):
                problems += outcome
            else:
                total.merge(outcome)
    if problems:
        rest = len(problems) - MAX_PROBLEMS
        raise InputError(problems if rest <= 0 else [*problems[:MAX_PROBLEMS], f"… and {rest} more"])
    result = total.compute()
    print_quality(result.metrics(), result.rows(), f"{len(pairs)} images")
    return {**result.metrics(), "per_class": result.rows(), "images": len(pairs)}


@dataclass(frozen=True, slots=True)
class _Annotation:
    """One image's map: where its PNG lies and what its ids mean."""

    image_id: int | str
    png: Path
    segments: list[Segment]


def _read_json(path: str | Path, flag: str) -> dict[str, Any]:
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise InputError(f"{flag} {path}: {reason}; name a panoptic JSON") from None
    except ValueError as error:
        raise InputError(f"{flag} {path}: is not JSON ({error}); write it again") from None
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise InputError(f"{flag} {path}: lacks the list `annotations`; give a JSON in COCO panoptic format")
    return content


def _annotations(
    content: dict[str, Any], path: str | Path, folder: str | Path, categories: Categories, problems: list[str]
) -> dict[int | str, _Annotation]:
    """image_id → annotation; what cannot be read goes to `problems`."""
    from aunet.structures import Segment

    found: dict[int | str, _Annotation] = {}
    for number, entry in enumerate(content["annotations"]):
        place = f"{path}: annotation {number}"
        if not _has(entry, ("image_id", "file_name", "segments_info"), place, problems):
            continue
        image_id = entry["image_id"]
        if image_id in found:
            problems.append(f"{path}: image {image_id} has two annotations; keep one")
        things = {c.id for c in categories.things}
        segments = [
            Segment(int(s["id"]), int(s["category_id"]), s["category_id"] in things, int(s.get("area", 0)),
                    is_crowd=bool(s.get("iscrowd", 0)))
            for s in entry["segments_info"]
            if _has(s, ("id", "category_id"), f"{path}: image {image_id}, a segment", problems)
        ]  # fmt: skip
        found[image_id] = _Annotation(image_id, Path(folder) / entry["file_name"], segments)
    return found


def _has(entry: Any, keys: tuple[str, ...], place: str, problems: list[str]) -> bool:
    missing = [k for k in keys if not isinstance(entry, Mapping) or k not in entry]
    if missing:
        problems.append(f"{place}: lacks {', '.join(missing)}; add it")
    return not missing


def _compare(true: _Annotation, found: _Annotation, categories: Categories) -> PanopticQuality | list[str]:
    """The counts of one image, or its problems."""
    from aunet.data.coco_panoptic import decode_panoptic
    from aunet.evaluation.overlap import measure_overlap
    from aunet.evaluation.panoptic_quality import PanopticQuality

    place, maps, problems = f"image {true.image_id} ({true.png.name})", [], []
    for who, png in (("ground truth", true.png), ("prediction", found.png)):
        try:
            maps.append(decode_panoptic(png.read_bytes()))
        except FileNotFoundError:
            problems.append(f"{place}: {who}: no file {png}; add it or drop its annotation")
        except (OSError, InputError) as error:
            problems.append(f"{place}: {who}: {png}: {error}")
    if problems:
        return problems
    try:
        overlap = measure_overlap(maps[1], found.segments, maps[0], true.segments, categories)
    except InputError as error:
        return [f"{place}: {problem}" for problem in error.problems]
    ids = sorted(s.id for s in true.segments)
    for i, area in zip(ids, overlap.pixels.sum(1)[1:].tolist(), strict=True):
        if area == 0:
            problems.append(
                f"{place}: ground truth: segment {i} is listed (JSON) but has no pixel in the map (PNG); remove it"
            )
    if problems:
        return problems
    quality = PanopticQuality(categories)
    quality.add(overlap)
    return quality
