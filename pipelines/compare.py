"""`compare`: two runs, models or folders of predictions → is the second better, how sure is that, and where."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aunet.categories import Categories, difference
from aunet.errors import InputError
from aunet.evaluation import comparison as statistics
from aunet.evaluation.comparison import Comparison
from aunet.evaluation.outcomes import ImageCounts
from aunet.evaluation.slices import cut
from pipelines.measuring.contestants import find_pair
from pipelines.measuring.measured import Measured
from pipelines.measuring.tags import read_tags, with_tags
from pipelines.pages.comparison_table import print_comparison
from pipelines.store import storage
from pipelines.store.artifacts import VerbResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared(VerbResult):
    """Two models on the same images: B minus A."""

    a: str
    b: str
    overall: Comparison
    """On all images."""
    slices: tuple[tuple[str, str, Comparison], ...]
    """What it is cut by, the value, and the comparison there."""
    val_fingerprint: str
    """Of the validation split; empty for predictions."""

    def to_json(self) -> dict[str, Any]:
        """`a b`, the comparison's own keys, `slices` and `val_fingerprint`."""
        return {
            "a": self.a,
            "b": self.b,
            **self.overall.to_json(),
            "sentence": self.overall.sentence(),
            "slices": [{"slice": by, "value": value, **_short(own)} for by, value, own in self.slices],
            "val_fingerprint": self.val_fingerprint or None,
        }


def compare(
    a: str,
    b: str,
    gt_json: str | None = None,
    gt_dir: str | None = None,
    slice: tuple[str, ...] = (),
    tags: str | None = None,
) -> Compared:
    """Compare two models image by image, and print a table and one sentence on stderr.

    Args:
        a: a run's URI, a model's (folder, `models:/name@alias` or `models:/name/version`), or a folder of `predict`.
        b: the other one. Differences are B minus A.
        gt_json: ground truth of the predictions, where one of them is a folder of those.
        gt_dir: folder of its PNGs.
        slice: also on parts of the images or segments, see `aunet.evaluation.slices.cut`.
        tags: file of tags of the images, see `measuring.tags.read_tags`.

    Raises:
        InputError: one of them does not exist or was not measured, they were measured on different images, or there is
            no such slice.
    """
    one, other = find_pair(a, b, gt_json, gt_dir)
    categories = _common_categories(a, one, b, other)
    known = {image: {**other.tags.get(image, {}), **own} for image, own in _all_tags(one).items()}
    if tags:
        known = with_tags(known, read_tags(storage.read_bytes(tags), tags), tags)
    theirs, ours = one.outcomes.counts(categories), other.outcomes.counts(categories)
    _check_truth(a, theirs, b, ours, categories)
    overall = statistics.compare(ours, theirs, categories)
    slices = tuple(
        (by, cell.value, statistics.compare(cell.ours, cell.theirs, categories))
        for by in slice
        for cell in cut(by, other.outcomes, one.outcomes, known, categories)
    )
    print_comparison(overall, slices)
    print(overall.sentence(), file=sys.stderr)
    return Compared(a=a, b=b, overall=overall, slices=slices, val_fingerprint=one.validation or other.validation)


def _short(comparison: Comparison) -> dict[str, Any]:
    """Without the categories and the ids of images."""
    plain = replace(comparison, per_class=(), won=(), lost=()).to_json()
    counts = {"num_won": len(comparison.won), "num_lost": len(comparison.lost)}
    return {name: value for name, value in plain.items() if name not in ("per_class", "won", "lost")} | counts


def _all_tags(measured: Measured) -> dict[int, dict[str, str]]:
    return {image: measured.tags.get(image, {}) for image in measured.outcomes.images.tolist()}


def _common_categories(a: str, one: Measured, b: str, other: Measured) -> Categories:
    if where := difference(one.categories.entries, other.categories.entries):
        raise InputError(f"{a} and {b} were measured with different categories, {where}; measure both on the same data")
    return one.categories


def _check_truth(a: str, theirs: ImageCounts, b: str, ours: ImageCounts, categories: Categories) -> None:
    """The same segments must be true for both."""
    statistics.check_same_images(ours.image_ids, theirs.image_ids)
    images, classes = np.nonzero(ours.tp + ours.fn != theirs.tp + theirs.fn)
    if len(images):
        name = categories.entries[classes[0]].name
        raise InputError(
            f"{a} and {b} were measured against different annotations: image {ours.image_ids[images[0]]} has not the "
            f"same number of segments of {name!r}; measure both on the same data"
        )
