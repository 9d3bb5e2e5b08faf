"""How many pixels each true segment shares with each predicted one: all that panoptic metrics need of an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from aunet.categories import Categories
from aunet.errors import InputError
from aunet.segments import Segment
from aunet_ops.segment_maps import Pairs, count_pairs

if TYPE_CHECKING:  # scoring two folders does without torch
    from torch import Tensor

Ids: TypeAlias = "npt.NDArray[np.integer] | Tensor"
"""Integer [H, W] of segment ids, 0 is void; a Tensor may be on any device."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Shared pixels of one image. Row and column 0 are void, then the segments in the order of their ids."""

    pixels: npt.NDArray[np.int64]
    """[1 + true segments, 1 + predicted segments]; the sums are the areas."""
    true_category: npt.NDArray[np.int64]
    """[1 + true segments], index into `categories.entries`; -1 for void."""
    predicted_category: npt.NDArray[np.int64]
    """[1 + predicted segments], likewise."""
    true_crowd: npt.NDArray[np.bool_]
    """[1 + true segments]."""
    true_ids: npt.NDArray[np.int64]
    """[1 + true segments], ids in the map; 0 for void."""
    predicted_ids: npt.NDArray[np.int64]
    """[1 + predicted segments], likewise."""

    def matching(self) -> Matching:
        """Which true and predicted segments match, by the rules of `PanopticQuality`."""
        shared, on_void = self.pixels[1:, 1:], self.pixels[0, 1:]
        true_area, predicted_area = self.pixels[1:].sum(1), self.pixels[:, 1:].sum(0)
        crowd = self.true_crowd[1:, None]
        same = self.true_category[1:, None] == self.predicted_category[None, 1:]
        union = true_area[:, None] + predicted_area[None] - shared - on_void[None]
        on_crowd = np.where(same & crowd, shared, 0).sum(0)
        return Matching(
            union, same & ~crowd, same & ~crowd & (2 * shared > union), 2 * (on_void + on_crowd) > predicted_area
        )


@dataclass(frozen=True, slots=True)
class Matching:
    """The segments of an image, T true and P predicted ones, without void."""

    union: npt.NDArray[np.int64]
    """[T, P] pixels; those that the ground truth leaves void count in no union."""
    comparable: npt.NDArray[np.bool_]
    """[T, P] of one category, and the true one is not a crowd."""
    matches: npt.NDArray[np.bool_]
    """[T, P] at most one in a row or column."""
    excused: npt.NDArray[np.bool_]
    """[P] more than half on void and on crowds of its category."""


def measure_overlap(
    predicted_ids: Ids,
    predicted_segments: Sequence[Segment],
    true_ids: Ids,
    true_segments: Sequence[Segment],
    categories: Categories,
) -> Overlap:
    """Count shared pixels. The areas given in the segments are ignored; they are counted again.

    Args:
        predicted_ids: [H, W] ids, 0 is void.
        predicted_segments: one for every other id in `predicted_ids`, each present there.
        true_ids: [H, W] ids of the same size.
        true_segments: one for every other id in `true_ids`. A segment that has no pixel stays in the result.
        categories: of the data set; every segment's category is one of them.

    Raises:
        InputError: the maps differ in size, or ids and segments do not match; one line per problem.
    """
    predicted, true = _flat(predicted_ids), _flat(true_ids)
    check_sizes(tuple(predicted_ids.shape), tuple(true_ids.shape))
    tables = (SegmentTable.of(segments, categories) for segments in (predicted_segments, true_segments))
    return overlap_of(count_pairs(true, predicted), *tables)


def check_sizes(predicted: tuple[int, ...], true: tuple[int, ...]) -> None:
    """Refuse maps of different shapes (height, width).

    Raises:
        InputError: they differ.
    """
    if predicted != true:
        raise InputError(
            f"prediction is {predicted[1]}×{predicted[0]} pixels, ground truth {true[1]}×{true[0]}; "
            "predict at the size of the image"
        )


@dataclass(frozen=True, slots=True, eq=False)
class SegmentTable:
    """The segments of one map in the order of their ids, as columns."""

    ids: npt.NDArray[np.int64]
    """[n], ascending; each once, and positive, where they are right."""
    category: npt.NDArray[np.int64]
    """[n] index into `categories.entries`; -1 where that has no such category."""
    category_ids: npt.NDArray[np.int64]
    """[n], as given."""
    is_crowd: npt.NDArray[np.bool_]
    """[n]."""

    @classmethod
    def of(cls, segments: Iterable[Segment], categories: Categories) -> SegmentTable:
        """The table of `segments`, whatever is wrong with them."""
        index = categories.index_of
        rows = sorted((s.id, index.get(s.category_id, -1), s.category_id, s.is_crowd) for s in segments)
        ids, category, category_ids, is_crowd = np.array(rows, np.int64).reshape(-1, 4).T
        return cls(ids, category, category_ids, is_crowd.astype(bool))


def overlap_of(pairs: Pairs, predicted: SegmentTable, true: SegmentTable) -> Overlap:
    """The overlap of two maps whose shared pixels are counted: `pairs` of true and predicted ids, each pair once.

    Raises:
        InputError: as `measure_overlap`, but for the sizes.
    """
    problems: list[str] = []
    rows = _positions(pairs.first, true, "ground truth", problems, every_id_has_pixels=False)
    columns = _positions(pairs.second, predicted, "prediction", problems, every_id_has_pixels=True)
    if problems:
        raise InputError(problems)
    pixels = np.zeros((1 + len(true.ids), 1 + len(predicted.ids)), np.int64)
    pixels[rows, columns] = pairs.pixels
    void, unknown = np.zeros(1, np.int64), np.full(1, -1, np.int64)
    return Overlap(
        pixels,
        np.concatenate([unknown, true.category]),
        np.concatenate([unknown, predicted.category]),
        np.concatenate([void.astype(bool), true.is_crowd]),
        np.concatenate([void, true.ids]),
        np.concatenate([void, predicted.ids]),
    )


def _positions(
    ids: npt.NDArray[np.int64], table: SegmentTable, source_name: str, problems: list[str], *, every_id_has_pixels: bool
) -> npt.NDArray[np.intp]:
    """Positions of ids in a table, from 1, void first; what does not match goes to `problems`."""
    listed = table.ids
    wrong = listed <= 0
    wrong[1:] |= listed[1:] == listed[:-1]
    if wrong.any():
        problems.append(
            f"{source_name}: segment id {listed[wrong][0]} is given twice or below 1; "
            "give each a positive id of its own"
        )
    positions = np.searchsorted(listed, ids, side="right")
    is_void = ids == 0
    is_known = (positions > 0) & ~is_void
    is_known[is_known] = listed[positions[is_known] - 1] == ids[is_known]
    if not (is_known | is_void).all():
        problems += [
            f"{source_name}: id {i} is in the map (PNG) but not in its segments (JSON); list it or paint it 0"
            for i in np.unique(ids[~is_known & ~is_void]).tolist()
        ]
    if every_id_has_pixels:
        is_used = np.zeros(1 + len(listed), bool)
        is_used[positions[is_known]] = True
        problems += [
            f"{source_name}: segment {i} is listed (JSON) but has no pixel in the map (PNG); remove it"
            for i in listed[~is_used[1:]].tolist()
        ]
    problems += [
        f"{source_name}: segment {i} has unknown category_id {category_id}; use one of `categories`"
        for i, category_id in zip(
            table.ids[table.category < 0].tolist(), table.category_ids[table.category < 0].tolist(), strict=True
        )
    ]
    return positions


def _flat(ids: Ids) -> npt.NDArray[np.integer]:
    array = ids if isinstance(ids, np.ndarray) else ids.detach().cpu().numpy()
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"ids must be integer [H, W], got {array.dtype} {list(array.shape)}")
    return np.ascontiguousarray(array).reshape(-1)
