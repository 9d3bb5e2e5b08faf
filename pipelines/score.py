"""`score`: predictions against ground truth, two folders in COCO panoptic format, as panopticapi evaluates them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aunet.errors import InputError
from pipelines.measuring.annotated_folders import PairedFolders
from pipelines.measuring.folders import count_folders
from pipelines.pages.text_table import quality_text
from pipelines.store.artifacts import VerbResult


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


def score(
    gt_json: str | Path, gt_dir: str | Path, pred_json: str | Path, pred_dir: str | Path, workers: int | None = None
) -> Score:
    """Compare every image of the ground truth with its prediction and print a table on stderr.

    Predictions for other images are ignored.

    Args:
        gt_json: panoptic JSON with `annotations` and `categories`.
        gt_dir: folder of its PNGs.
        pred_json: panoptic JSON with `annotations`; it may be the one of `gt_json`.
        pred_dir: folder of its PNGs.
        workers: threads that decode and compare; None: as many as there are CPUs.

    Raises:
        InputError: a file or a prediction is missing, or maps and JSON do not fit each other; one line per problem.
    """
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers} is below 1; leave it out to use every CPU")
    folders = PairedFolders.read(gt_json, gt_dir, pred_json, pred_dir)
    quality = count_folders(folders, workers).compute()
    text = quality_text(quality.metrics(), quality.rows(), f"{len(folders.pairs)} images")
    print(text, file=sys.stderr)
    return Score(metrics=quality.metrics(), per_class=tuple(quality.rows()), images=len(folders.pairs))
