"""From instances and semantics to one panoptic map: the merging rule of Kirillov et al. (Panoptic Segmentation, §7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aunet.categories import Categories, ThingLabels
from aunet.config import FusionConfig
from aunet.errors import InputError
from aunet.image_sized import GROUP_BYTES, SemanticLogits
from aunet.segments import Segment
from aunet.structures import Detections, PanopticMap

_Bools = npt.NDArray[np.bool_]
_Ids = npt.NDArray[np.int32]
_STRIP = 2**16
"""Pixels whose logits are compared at once."""


def fuse_panoptic(
    detections: Detections,
    semantic_logits: Tensor | SemanticLogits,
    categories: Categories,
    config: FusionConfig,
    thing_labels: ThingLabels,
) -> PanopticMap:
    """Give every pixel one segment, or void.

    1. Instances of at least `score_threshold` are painted by falling score. One is dropped when more than
       `overlap_threshold` of its mask is already occupied, else it is pasted into what is free.
    2. What is left goes to the stuff of highest logit. A pixel whose highest logit is a thing label stays void, and so
       does a stuff category that is left with fewer than `stuff_area` pixels.

    A relation (over, under) lets instances of `over` treat those of `under` as free: they are neither crowded out by
    them nor painted below them. Relations do not chain: (a, b) and (b, c) say nothing about a and c.

    Args:
        detections: K ≥ 0 instances with masks Tensor[K, H, W], in any order; equal scores keep their order.
        semantic_logits: Tensor[S, H, W], or what is enlarged to it some channels at a time, with
            S = `categories.num_semantic(thing_labels)`.
        categories: of the data set.
        config: thresholds, area limit and relations.
        thing_labels: the numbering of S that the background branch was built with.

    Returns:
        The map, on the device of the logits. Segments are numbered 1 … n without gaps: things by falling score, then
        stuff in the order of `categories`; every segment owns at least one pixel.

    Raises:
        InputError: a relation names something that is not a thing category, or contradicts another.
        ValueError: the shapes do not match each other or the categories.
    """
    size = _check_shapes(detections, semantic_logits, categories, thing_labels)
    under = _under_labels(categories, config.relations)
    instances = _rank(detections, config.score_threshold)
    canvas = _paint_things(detections, instances, size, under, config.overlap_threshold)
    num_things, first_stuff = len(instances.labels), categories.num_thing_labels(thing_labels)
    owners = best_labels(semantic_logits)
    owners += np.int32(num_things + 1)
    np.copyto(owners, canvas, where=canvas != 0)
    del canvas
    num_owners = num_things + 1 + semantic_logits.shape[0]
    areas = np.zeros(num_owners, np.int64)
    for strip in _strips(owners):
        areas += np.bincount(strip, minlength=num_owners)
    things = np.flatnonzero(areas[1 : num_things + 1])
    stuff = np.flatnonzero(areas[num_things + 1 :] >= max(config.stuff_area, 1))
    stuff = stuff[stuff >= first_stuff]
    segment_owners = np.concatenate([things + 1, stuff + num_things + 1])
    numbers = np.zeros(len(areas), np.int32)
    numbers[segment_owners] = np.arange(1, len(segment_owners) + 1)

    owned = [(categories.things[instances.labels[k] - 1], instances.scores[k]) for k in things]
    owned += [(categories.stuff[n - first_stuff], None) for n in stuff]
    segments = [
        Segment(id=n, category_id=category.id, is_thing=category.is_thing, area=area, score=score)
        for n, ((category, score), area) in enumerate(zip(owned, areas[segment_owners].tolist(), strict=True), start=1)
    ]
    for strip in _strips(owners):
        strip[:] = numbers[strip]
    return PanopticMap(torch.from_numpy(owners).to(semantic_logits.device), segments)


def best_labels(logits: Tensor | SemanticLogits, group_bytes: int = GROUP_BYTES) -> _Ids:
    """int32[H, W]: the label of the highest logit, the first among equals.

    On a CPU in strips that stay in its cache, in a fraction of the time of `argmax(0)`: as labels rise, the maximum of
    the best label so far and `label · (logit is higher)` is the new best one.

    Args:
        logits: Tensor[S, H, W], or what is enlarged to it.
        group_bytes: of logits that are enlarged at once.
    """
    count, height, width = logits.shape
    best = np.zeros(height * width, np.min_scalar_type(count))
    highest = np.zeros(0, np.float32)
    first = 0
    for group in [logits] if isinstance(logits, Tensor) else logits.groups(group_bytes):
        if group.is_cuda and len(group) == count:
            return group.argmax(0).to(torch.int32).cpu().numpy()
        values = group.detach().to(torch.promote_types(group.dtype, torch.float32)).flatten(1).cpu().numpy()
        del group
        highest = values[0].copy() if first == 0 else highest
        for start in range(0, len(best), _STRIP):
            strip, labels = values[:, start : start + _STRIP], best[start : start + _STRIP]
            top, candidates = highest[start : start + _STRIP], np.empty_like(labels)
            for label, channel in enumerate(strip, start=first):
                np.multiply(channel > top, labels.dtype.type(label), out=candidates)
                np.maximum(channel, top, out=top)
                np.maximum(labels, candidates, out=labels)
        first += len(values)
    return best.reshape(height, width).astype(np.int32)


def _strips(ids: _Ids) -> Iterator[_Ids]:
    """Parts of a contiguous map, which numpy may copy as 64-bit numbers."""
    flat = ids.reshape(-1)
    return (flat[start : start + _STRIP] for start in range(0, len(flat), _STRIP))


class _RankedInstances(NamedTuple):
    """Instances above the score threshold, by falling score."""

    scores: list[float]
    labels: list[int]
    indices: list[int]
    """Of the detections."""


def _rank(detections: Detections, score_threshold: float) -> _RankedInstances:
    scores, order = detections.scores.sort(descending=True, stable=True)
    order = order[scores >= score_threshold]
    return _RankedInstances(
        detections.scores[order].float().tolist(), detections.labels[order].tolist(), order.tolist()
    )


def _paint_things(
    detections: Detections,
    instances: _RankedInstances,
    size: tuple[int, int],
    under: dict[int, list[int]],
    overlap_threshold: float,
) -> _Ids:
    """int32[H, W]: 0 where free, else 1 + the rank of the instance. Each instance is handled within its extent."""
    canvas = np.zeros(size, np.int32)
    label_of = np.array([0, *instances.labels])
    for rank, (label, index) in enumerate(zip(instances.labels, instances.indices, strict=True)):
        window_rows, window_columns, window_mask = detections.window(index)
        mask, window = window_mask.cpu().numpy(), canvas[window_rows, window_columns]
        rows: _Bools = np.any(mask, axis=1)
        if not rows.any():
            continue
        y = _extent(rows)
        columns: _Bools = np.any(mask[y], axis=0)
        x = _extent(columns)
        mask, painted = mask[y, x], window[y, x]
        occupied = painted != 0
        if label in under:
            occupied &= ~np.isin(label_of, under[label])[painted]
        occupied &= mask
        if np.count_nonzero(occupied) / np.count_nonzero(mask) <= overlap_threshold:
            np.copyto(painted, rank + 1, where=mask & ~occupied)
    return canvas


def _extent(occupied: _Bools) -> slice:
    """From the first to the last True of a vector that has one."""
    return slice(int(occupied.argmax()), len(occupied) - int(occupied[::-1].argmax()))


def _under_labels(categories: Categories, relations: tuple[tuple[str, str], ...]) -> dict[int, list[int]]:
    """Detector label → detector labels that it may paint over."""
    problems, under = [], {}
    for over_name, under_name in relations:
        pair = f'fusion.relations: ("{over_name}", "{under_name}")'
        unknown = [n for n in (over_name, under_name) if n not in {c.name for c in categories.things}]
        if unknown:
            names = ", ".join(c.name for c in categories.things[:12]) or "none"
            more = f" and {len(categories.things) - 12} more" if len(categories.things) > 12 else ""
            problems += [f'{pair}: "{n}" is not a thing category; there are {names}{more}' for n in unknown]
        elif (under_name, over_name) in relations:
            problems.append(f"{pair} contradicts the reverse pair; keep one of the two")
        else:
            over, below = (categories.detector_labels[categories.by_name[n].id] for n in (over_name, under_name))
            under.setdefault(over, []).append(below)
    if problems:
        raise InputError(problems)
    return under


def _check_shapes(
    detections: Detections,
    semantic_logits: Tensor | SemanticLogits,
    categories: Categories,
    thing_labels: ThingLabels,
) -> tuple[int, int]:
    channels = categories.num_semantic(thing_labels)
    if len(semantic_logits.shape) != 3 or semantic_logits.shape[0] != channels:
        raise ValueError(f"semantic_logits must have shape [{channels}, H, W], got {list(semantic_logits.shape)}")
    size = (semantic_logits.shape[1], semantic_logits.shape[2])
    expected = [len(detections.scores), *size]
    if list(detections.mask_shape) != expected:
        raise ValueError(f"detections.masks must have shape {expected}, got {list(detections.mask_shape)}")
    return size
