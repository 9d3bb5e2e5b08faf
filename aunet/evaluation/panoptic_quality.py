"""Panoptic quality, by the rules of the COCO panoptic challenge (Kirillov et al., Panoptic Segmentation, §4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aunet.categories import Categories, Category
from aunet.errors import InputError
from aunet.evaluation.overlap import Ids, Overlap, measure_overlap
from aunet.segments import Segment


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassQuality:
    """One category. All three values are 0 when it occurs neither in the ground truth nor in the predictions."""

    category_id: int
    name: str
    is_thing: bool
    pq: float
    """Per cent, as `sq` and `rq`."""
    sq: float
    rq: float
    tp: int
    fp: int
    fn: int

    @property
    def is_present(self) -> bool:
        """Whether the averages count this category."""
        return self.tp + self.fp + self.fn > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupQuality:
    """The mean over the categories of a group that are present; 0, with `num_classes` 0, when none is."""

    pq: float
    """Per cent, as `sq` and `rq`."""
    sq: float
    rq: float
    num_classes: int
    """Categories present, over which the mean runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PanopticQualityResult:
    """The result of `PanopticQuality.compute`."""

    all: GroupQuality
    things: GroupQuality
    stuff: GroupQuality
    per_class: tuple[ClassQuality, ...]
    """Every category, in the order of `Categories`."""

    def metrics(self) -> dict[str, float]:
        """`PQ SQ RQ PQ_th SQ_th RQ_th PQ_st SQ_st RQ_st`, in per cent."""
        groups = (("", self.all), ("_th", self.things), ("_st", self.stuff))
        return {
            key + suffix: value
            for suffix, group in groups
            for key, value in (("PQ", group.pq), ("SQ", group.sq), ("RQ", group.rq))
        }

    def rows(self) -> list[dict[str, Any]]:
        """`per_class` as plain JSON values."""
        return [
            {
                "category_id": c.category_id,
                "name": c.name,
                "isthing": int(c.is_thing),
                "PQ": c.pq,
                "SQ": c.sq,
                "RQ": c.rq,
                "tp": c.tp,
                "fp": c.fp,
                "fn": c.fn,
            }
            for c in self.per_class
        ]


class PanopticQuality:
    """Adds up matches image by image; several of them merge into one.

    A predicted and a true segment match when they have the same category, the true one is not a crowd, and their IoU is
    above 0.5, where pixels that the ground truth leaves void count in no union. A true segment without a match is a
    false negative unless it is a crowd. A predicted segment without a match is a false positive unless more than half
    of it is on void and on crowds of its category. Averages are over the categories that occur.

    Same numbers as panopticapi, except where that is known to be wrong: areas are counted, not read from the JSON; all
    crowds of a category excuse a prediction, not only the last; a group without categories is 0, not a division by 0.
    """

    def __init__(self, categories: Categories) -> None:
        self.categories = categories
        self.iou = np.zeros(len(categories))
        """Sum of the IoU of all matches, per category in the order of `categories`."""
        self.tp, self.fp, self.fn = (np.zeros(len(categories), np.int64) for _ in range(3))

    def update(
        self,
        predicted_ids: Ids,
        predicted_segments: Sequence[Segment],
        true_ids: Ids,
        true_segments: Sequence[Segment],
    ) -> None:
        """Count one image.

        Args:
            predicted_ids: integer [H, W], array or tensor; 0 is void, any other value the id of a segment.
            predicted_segments: exactly the segments of `predicted_ids`.
            true_ids: integer [H, W] of the same size.
            true_segments: the segments of `true_ids`; one that has no pixel is a false negative.

        Raises:
            InputError: sizes differ, an id has no segment, a predicted segment no pixel, or a category is unknown;
                nothing is counted then.
        """
        self.add(measure_overlap(predicted_ids, predicted_segments, true_ids, true_segments, self.categories))

    def add(self, overlap: Overlap) -> None:
        """Count one image whose overlap is already measured."""
        matching, count = overlap.matching(), len(self.categories)
        true_category, predicted_category = overlap.true_category[1:], overlap.predicted_category[1:]
        rows, columns = np.nonzero(matching.matches)
        true_matched, predicted_matched = matching.matches.any(1), matching.matches.any(0)
        iou = overlap.pixels[1:, 1:][rows, columns] / matching.union[rows, columns]

        self.iou += np.bincount(true_category[rows], weights=iou, minlength=count)
        self.tp += np.bincount(true_category[rows], minlength=count)
        self.fn += np.bincount(true_category[~true_matched & ~overlap.true_crowd[1:]], minlength=count)
        self.fp += np.bincount(predicted_category[~predicted_matched & ~matching.excused], minlength=count)

    def merge(self, other: PanopticQuality) -> None:
        """Add the counts of `other`, which has the same categories."""
        if self.categories != other.categories:
            raise InputError("categories: accumulators of different categories cannot be merged; use one list for all")
        self.iou += other.iou
        self.tp += other.tp
        self.fp += other.fp
        self.fn += other.fn

    def compute(self) -> PanopticQualityResult:
        """The averages over the images counted so far; 0 where there is nothing to average."""
        per_class = tuple(self._class_quality(n, c) for n, c in enumerate(self.categories.entries))
        return PanopticQualityResult(
            all=_mean(per_class, lambda c: True),
            things=_mean(per_class, lambda c: c.is_thing),
            stuff=_mean(per_class, lambda c: not c.is_thing),
            per_class=per_class,
        )

    def _class_quality(self, n: int, category: Category) -> ClassQuality:
        iou, tp, fp, fn = float(self.iou[n]), int(self.tp[n]), int(self.fp[n]), int(self.fn[n])
        weight = max(tp + 0.5 * fp + 0.5 * fn, 0.5)
        return ClassQuality(
            category_id=category.id,
            name=category.name,
            is_thing=category.is_thing,
            pq=100 * iou / weight,
            sq=100 * iou / max(tp, 1),
            rq=100 * tp / weight,
            tp=tp,
            fp=fp,
            fn=fn,
        )


def _mean(per_class: Sequence[ClassQuality], belongs: Callable[[ClassQuality], bool]) -> GroupQuality:
    group = [c for c in per_class if c.is_present and belongs(c)]
    count = max(len(group), 1)
    return GroupQuality(
        pq=sum(c.pq for c in group) / count,
        sq=sum(c.sq for c in group) / count,
        rq=sum(c.rq for c in group) / count,
        num_classes=len(group),
    )
