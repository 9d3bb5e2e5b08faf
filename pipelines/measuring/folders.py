"""Two folders in COCO panoptic format, compared image by image on all cores. Needs neither torch nor Ray."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aunet.categories import Categories
from aunet.data.coco_panoptic import decode_panoptic, swapped_channels
from aunet.data.defects import RULES
from aunet.data.pictures import MAX_PIXELS
from aunet.errors import InputError
from aunet.evaluation.outcomes import Outcomes
from aunet.evaluation.overlap import Overlap, SegmentTable, check_sizes, overlap_of
from aunet.evaluation.panoptic_quality import PanopticQuality, PanopticQualityResult
from aunet_ops.segment_maps import Pairs, count_pairs, read_pairs
from pipelines.measuring.annotated_folders import MapPair, PairedFolders

T = TypeVar("T")
Digest = Callable[[Sequence[tuple[int, Overlap]]], T]
"""(number, overlap) of some pairs of maps → what is to be kept of them; called in threads."""

MAX_PROBLEMS = 20
"""Problems listed before the others are only counted."""
CHUNK = 8
"""Pairs of maps that a thread compares at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderScore:
    """What predictions are worth, and why."""

    outcomes: Outcomes
    categories: Categories
    quality: PanopticQualityResult


def score_folders(
    gt_json: str | Path, gt_dir: str | Path, pred_json: str | Path, pred_dir: str | Path, *, workers: int | None = None
) -> FolderScore:
    """Compare every image of the ground truth with its prediction, and keep what happened to every segment.

    Images whose ids are texts are numbered in the order of the ground truth.

    Args:
        gt_json: panoptic JSON with `annotations` and `categories`.
        gt_dir: folder of its PNGs.
        pred_json: panoptic JSON with `annotations`.
        pred_dir: folder of its PNGs.
        workers: threads; None: as many as there are CPUs.

    Raises:
        InputError: a file or a prediction is missing, or maps and JSON do not fit each other; one line per problem.
    """
    folders = PairedFolders.read(gt_json, gt_dir, pred_json, pred_dir)

    def outcomes_of(overlaps: Sequence[tuple[int, Overlap]]) -> list[Outcomes]:
        return [Outcomes.of(overlap, number) for number, overlap in overlaps]

    outcomes = Outcomes.join([image for chunk in digests(folders, outcomes_of, workers) for image in chunk])
    quality = outcomes.counts(folders.categories).quality(folders.categories)
    return FolderScore(outcomes=outcomes, categories=folders.categories, quality=quality)


def count_folders(folders: PairedFolders, workers: int | None = None) -> PanopticQuality:
    """The counts over all pairs, the same whatever the number of threads.

    Raises:
        InputError: as `digests`.
    """

    def count(overlaps: Sequence[tuple[int, Overlap]]) -> PanopticQuality:
        quality = PanopticQuality(folders.categories)
        for _, overlap in overlaps:
            quality.add(overlap)
        return quality

    total = PanopticQuality(folders.categories)
    for quality in digests(folders, count, workers):
        total.merge(quality)
    return total


def digests(folders: PairedFolders, digest: Digest[T], workers: int | None = None) -> Iterator[T]:
    """Compare the maps of all pairs, and yield what `digest` makes of every few of them, in their order.

    A few pairs are decoded at a time, however many there are. Decoding and counting release the interpreter, and
    processes would take seconds to start.

    Args:
        folders: the pairs, and what is wrong with their annotations.
        digest: see there.
        workers: threads; None: as many as there are CPUs.

    Raises:
        InputError: in the end, the problems of all annotations and maps; one line each, and no more than a screenful.
    """

    def compare(pairs: Sequence[MapPair]) -> tuple[T, list[str]]:
        overlaps: list[tuple[int, Overlap]] = []
        problems: list[str] = []
        for pair in pairs:
            try:
                overlaps.append((pair.number, _overlap(pair)))
            except InputError as error:
                problems += error.problems
        return digest(overlaps), problems

    problems = list(folders.problems)
    num_threads = workers or os.cpu_count() or 1
    chunks = (folders.pairs[start : start + CHUNK] for start in range(0, len(folders.pairs), CHUNK))
    with ThreadPoolExecutor(num_threads) as threads:
        for result, wrong in _mapped(threads, compare, chunks, 2 * num_threads):
            problems += wrong
            yield result
    if problems:
        num_hidden = len(problems) - MAX_PROBLEMS
        raise InputError([*problems[:MAX_PROBLEMS], *([f"… and {num_hidden} more"] if num_hidden > 0 else [])])


def _mapped(
    threads: ThreadPoolExecutor,
    call: Callable[[Sequence[MapPair]], T],
    chunks: Iterable[Sequence[MapPair]],
    ahead: int,
) -> Iterator[T]:
    """As `threads.map`, but only `ahead` calls run or wait at a time."""
    remaining = iter(chunks)
    waiting: deque[Future[T]] = deque(threads.submit(call, chunk) for chunk in islice(remaining, ahead))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(threads.submit(call, chunk) for chunk in islice(remaining, 1))
        yield result


def _overlap(pair: MapPair) -> Overlap:
    """The overlap of one image's maps.

    Raises:
        InputError: all that is wrong with them.
    """
    name, true, predicted = pair.true.name, pair.true.segments, pair.predicted.segments
    pairs = _shared_pixels(pair)
    try:
        overlap = overlap_of(pairs, predicted, true)
    except InputError as error:
        roles = (("ground truth", pairs.first, true), ("prediction", pairs.second, predicted))
        rule = RULES["map-bgr"]
        swapped = [f"{role}: {rule.what}; {rule.cure}" for role, ids, segments in roles if _is_bgr(ids, segments)]
        raise InputError(f"{name}: {message}" for message in swapped or error.problems) from None
    is_empty = overlap.pixels[1:].sum(1) == 0
    if is_empty.any():
        raise InputError(
            f"{name}: ground truth: segment {i} is listed (JSON) but has no pixel in the map (PNG); remove it"
            for i in true.ids[is_empty].tolist()
        )
    return overlap


def _shared_pixels(pair: MapPair) -> Pairs:
    """How many pixels each true id shares with each predicted one."""
    name, roles = pair.true.name, (("ground truth", pair.true), ("prediction", pair.predicted))
    contents = [own.folder.read(own.file_name) for _, own in roles]
    true, predicted = contents
    if isinstance(true, bytes) and isinstance(predicted, bytes):
        pairs = read_pairs(true, predicted, MAX_PIXELS)
        if pairs is not None:
            return pairs
    maps, problems = [], []
    for (role, own), content in zip(roles, contents, strict=True):
        where = f"{name}: {role}: {own.file_name}"
        if isinstance(content, OSError):
            problems.append(f"{where}: {content}; add it or drop its annotation")
            continue
        try:
            maps.append(decode_panoptic(content))
        except InputError as error:
            problems.append(f"{where}: {error}")
    if problems:
        raise InputError(problems)
    try:
        check_sizes(maps[1].shape, maps[0].shape)
    except InputError as error:
        raise InputError(f"{name}: {message}" for message in error.problems) from None
    return count_pairs(maps[0], maps[1])


def _is_bgr(ids: NDArray[np.int64], segments: SegmentTable) -> bool:
    """Whether the ids of a map are those of its segments once two channels are swapped."""
    listed, used = set(segments.ids.tolist()), set(ids.tolist()) - {0}
    return used != listed and swapped_channels(used) == listed
