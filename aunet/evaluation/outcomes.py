"""What happened to every segment of some images, as columns: counts, slices, comparisons and galleries read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from aunet.categories import Categories
from aunet.errors import InputError
from aunet.evaluation.overlap import Overlap
from aunet.evaluation.panoptic_quality import PanopticQuality, PanopticQualityResult

_Array = npt.NDArray[Any]


COLUMNS: dict[str, Any] = {
    "images": np.int64,
    "image_id": np.int64,
    "is_predicted": np.bool_,
    "segment_id": np.int64,
    "category": np.int16,
    "area": np.int64,
    "is_crowd": np.bool_,
    "fate": np.uint8,
    "iou": np.float64,
    "other_id": np.int64,
    "other_category": np.int16,
    "other_iou": np.float64,
}
"""The fields of `Outcomes` and their types."""


class Fate(IntEnum):
    """What became of a segment, by the rules of `PanopticQuality`."""

    MATCHED = 0
    """True or predicted: one of a pair."""
    MISSED = 1
    """True, without a match: a false negative."""
    FALSE = 2
    """Predicted, without a match: a false positive."""
    EXCUSED = 3
    """Predicted, without a match, mostly on void and crowds of its category: not counted."""
    CROWD = 4
    """True, a crowd: not counted."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """One row per segment, S in all, those of an image together; the images ascend."""

    images: npt.NDArray[np.int64]
    """[N] ids of all images, ascending, also of those without a segment."""
    image_id: npt.NDArray[np.int64]
    """[S], as all that follow."""
    is_predicted: npt.NDArray[np.bool_]
    """False: a segment of the ground truth."""
    segment_id: npt.NDArray[np.int64]
    """In its map, true or predicted."""
    category: npt.NDArray[np.int16]
    """Index into `categories.entries`."""
    area: npt.NDArray[np.int64]
    """Pixels, counted."""
    is_crowd: npt.NDArray[np.bool_]
    fate: npt.NDArray[np.uint8]
    """`Fate`."""
    iou: npt.NDArray[np.float64]
    """The largest with a segment of the other side and the same category, crowds left out; of a match, its IoU."""
    other_id: npt.NDArray[np.int64]
    """Of the other side's segment, of any category, with the largest IoU; 0 where none overlaps."""
    other_category: npt.NDArray[np.int16]
    """Its category; -1 where none overlaps."""
    other_iou: npt.NDArray[np.float64]

    @classmethod
    def of(cls, overlap: Overlap, image_id: int) -> Outcomes:
        """The outcomes of one image. As in PQ, pixels that the ground truth leaves void count in no union."""
        matching, crowd = overlap.matching(), overlap.true_crowd[1:]
        true_category, predicted_category = overlap.true_category[1:], overlap.predicted_category[1:]
        iou = overlap.pixels[1:, 1:] / np.maximum(matching.union, 1)
        comparable = np.where(matching.comparable, iou, 0.0)
        true_matched, predicted_matched = matching.matches.any(1), matching.matches.any(0)
        fates = (
            np.where(crowd, Fate.CROWD, np.where(true_matched, Fate.MATCHED, Fate.MISSED)),
            np.where(predicted_matched, Fate.MATCHED, np.where(matching.excused, Fate.EXCUSED, Fate.FALSE)),
        )
        others = (
            _nearest(iou, overlap.predicted_ids[1:], predicted_category),
            _nearest(iou.T, overlap.true_ids[1:], true_category),
        )
        num_true, num_predicted = iou.shape
        return cls(
            images=np.array([image_id], np.int64),
            image_id=np.full(num_true + num_predicted, image_id, np.int64),
            is_predicted=np.repeat([False, True], [num_true, num_predicted]),
            segment_id=np.concatenate([overlap.true_ids[1:], overlap.predicted_ids[1:]]),
            category=np.concatenate([true_category, predicted_category]).astype(np.int16),
            area=np.concatenate([overlap.pixels[1:].sum(1), overlap.pixels[:, 1:].sum(0)]),
            is_crowd=np.concatenate([crowd, np.zeros(num_predicted, bool)]),
            fate=np.concatenate(fates).astype(np.uint8),
            iou=np.concatenate([comparable.max(1, initial=0), comparable.max(0, initial=0)]),
            other_id=np.concatenate([ids for ids, _, _ in others]),
            other_category=np.concatenate([categories for _, categories, _ in others]).astype(np.int16),
            other_iou=np.concatenate([largest for _, _, largest in others]),
        )

    @classmethod
    def from_plain(cls, columns: Mapping[str, Any]) -> Outcomes:
        """The inverse of `to_plain`."""
        return cls(**{name: np.array(columns[name], kind) for name, kind in COLUMNS.items()})

    def to_plain(self) -> dict[str, list[Any]]:
        """The columns as JSON values, by name."""
        return {name: getattr(self, name).tolist() for name in COLUMNS}

    @classmethod
    def join(cls, groups: Sequence[Outcomes]) -> Outcomes:
        """All images of several, in the order of their ids.

        Raises:
            InputError: an image is in two of them.
        """
        empty = {name: np.zeros(0, kind) for name, kind in COLUMNS.items()}
        columns: dict[str, Any] = {
            name: np.concatenate([none, *(getattr(group, name) for group in groups)]) for name, none in empty.items()
        }
        columns["images"] = np.sort(columns["images"])
        repeated = columns["images"][1:][columns["images"][1:] == columns["images"][:-1]]
        if repeated.size:
            raise InputError(f"image {repeated[0]} is evaluated twice; give each image to one worker only")
        order = np.argsort(columns["image_id"], kind="stable")
        return cls(**{name: column if name == "images" else column[order] for name, column in columns.items()})

    def select(self, rows: npt.NDArray[np.bool_]) -> Outcomes:
        """Some segments, given by bool[S], of all images."""
        return Outcomes(images=self.images, **{name: getattr(self, name)[rows] for name in COLUMNS if name != "images"})

    def of_images(self, image_ids: npt.NDArray[np.int64]) -> Outcomes:
        """All segments of some images; ids that are not among `images` are passed over."""
        return replace(
            self.select(np.isin(self.image_id, image_ids)), images=self.images[np.isin(self.images, image_ids)]
        )

    def counts(self, categories: Categories) -> ImageCounts:
        """What PQ adds up, image by image."""
        shape = (len(self.images), len(categories))
        cells = np.searchsorted(self.images, self.image_id) * shape[1] + self.category

        def count(rows: npt.NDArray[np.bool_], weights: _Array | None = None) -> _Array:
            return np.bincount(cells[rows], weights=weights, minlength=shape[0] * shape[1]).reshape(shape)

        matched = (self.fate == Fate.MATCHED) & ~self.is_predicted
        return ImageCounts(
            image_ids=self.images,
            iou=count(matched, self.iou[matched]).astype(np.float64),
            tp=count(matched).astype(np.int32),
            fp=count(self.fate == Fate.FALSE).astype(np.int32),
            fn=count(self.fate == Fate.MISSED).astype(np.int32),
        )


@dataclass(frozen=True, slots=True, eq=False)
class ImageCounts:
    """What PQ adds up, of N images and C categories in the order of `categories`."""

    image_ids: npt.NDArray[np.int64]
    """[N], ascending."""
    iou: npt.NDArray[np.float64]
    """[N, C] sums of the IoU of matches."""
    tp: npt.NDArray[np.int32]
    """[N, C], as `fp` and `fn`."""
    fp: npt.NDArray[np.int32]
    fn: npt.NDArray[np.int32]

    def quality(self, categories: Categories) -> PanopticQualityResult:
        """PQ over all images; it does not depend on who measured which of them."""
        total = PanopticQuality(categories)
        total.iou = self.iou.sum(0)
        total.tp, total.fp, total.fn = (counts.sum(0, dtype=np.int64) for counts in (self.tp, self.fp, self.fn))
        return total.compute()

    def image_pq(self) -> npt.NDArray[np.float64]:
        """[N] PQ of each image alone, in per cent; NaN where an image has nothing to count."""
        weight = self.tp + 0.5 * self.fp + 0.5 * self.fn
        present = (weight > 0).sum(1)
        total = (self.iou / np.maximum(weight, 0.5)).sum(1)
        return np.where(present > 0, 100 * total / np.maximum(present, 1), np.nan)


def _nearest(iou: _Array, other_ids: _Array, other_categories: _Array) -> tuple[_Array, _Array, _Array]:
    """For each row of [segments, others]: id, category and IoU of the other with the largest."""
    if not iou.shape[1]:
        empty = np.zeros(len(iou), np.int64)
        return empty, empty - 1, empty.astype(np.float64)
    best = iou.argmax(1)
    largest = iou[np.arange(len(iou)), best]
    overlaps = largest > 0
    return np.where(overlaps, other_ids[best], 0), np.where(overlaps, other_categories[best], -1), largest
