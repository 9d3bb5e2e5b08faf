"""Mean IoU of the categories of a panoptic map, pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aunet.categories import Categories
from aunet.errors import InputError
from aunet.evaluation.overlap import Ids, Overlap, measure_overlap
from aunet.segments import Segment


class SemanticIoU:
    """A confusion matrix of pixels; several of them merge into one.

    Every pixel has the category of its segment, crowds included. Pixels that the ground truth leaves void are not
    counted; those that the prediction leaves void count as missed.
    """

    def __init__(self, categories: Categories) -> None:
        self.categories = categories
        self.pixels = np.zeros((len(categories), len(categories) + 1), np.int64)
        """[true category, predicted category], both in the order of `categories`; the last column is void."""

    def update(
        self,
        predicted_ids: Ids,
        predicted_segments: Sequence[Segment],
        true_ids: Ids,
        true_segments: Sequence[Segment],
    ) -> None:
        """Count one image; arguments and errors are those of `PanopticQuality.update`."""
        self.add(measure_overlap(predicted_ids, predicted_segments, true_ids, true_segments, self.categories))

    def add(self, overlap: Overlap) -> None:
        """Count one image whose overlap is already measured."""
        rows, columns = overlap.true_category, overlap.predicted_category % (len(self.categories) + 1)
        np.add.at(self.pixels, (rows[1:, None], columns[None]), overlap.pixels[1:])

    def merge(self, other: SemanticIoU) -> None:
        """Add the counts of `other`, which has the same categories."""
        if self.categories != other.categories:
            raise InputError("categories: accumulators of different categories cannot be merged; use one list for all")
        self.pixels += other.pixels

    def per_class(self) -> dict[int, float | None]:
        """category_id → IoU in per cent; None where the category is neither true nor predicted in a counted pixel."""
        hits = self.pixels.diagonal()
        union = self.pixels.sum(1) + self.pixels[:, :-1].sum(0) - hits
        return {
            c.id: 100 * float(hit) / float(total) if total else None
            for c, hit, total in zip(self.categories.entries, hits, union, strict=True)
        }

    def compute(self) -> float:
        """mIoU: the mean over the categories that occur, in per cent; 0 when none does."""
        present = [iou for iou in self.per_class().values() if iou is not None]
        return sum(present) / len(present) if present else 0.0
