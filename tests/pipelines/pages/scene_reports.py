"""Reports on generated scenes whose predictions are the ground truth, damaged: no network, no training, no Ray."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from aunet.categories import Categories
from aunet.data.coco_panoptic import measure_segments
from aunet.data.sample import Sample
from aunet.data.shapes import CATEGORIES, make_scene
from aunet.evaluation.comparison import compare
from aunet.evaluation.outcomes import Outcomes
from aunet.evaluation.overlap import measure_overlap
from aunet.evaluation.semantic_iou import SemanticIoU
from aunet.segments import Segment
from aunet.structures import PanopticMap
from pipelines.measuring.gallery_item import draw_item
from pipelines.pages.picks import choose
from pipelines.pages.report import ReportDocument

MAPS = ("pam2", "pam3", "pam4", "pam5", "mam")


@dataclass(frozen=True)
class SceneReport:
    """A document, and what it was made from."""

    document: ReportDocument
    samples: dict[int, Sample]
    predictions: dict[int, PanopticMap]


def scene_sample(index: int, height: int, width: int) -> Sample:
    scene = make_scene(0, "val", index, height, width)
    ids = [s.id for s in scene.segments]
    positions = np.zeros(scene.ids.shape, np.uint8)
    for number, segment_id in enumerate(ids, start=1):
        positions[scene.ids == segment_id] = number
    return Sample(index + 1, scene.image, positions, scene.segments)


def damaged(sample: Sample, rng: Generator, amount: float) -> PanopticMap:
    """The truth, moved by some pixels; some things get another class, or are lost, or are there twice."""
    ids = np.roll(sample.true_ids(), rng.integers(-3, 4, 2) * (rng.random() < 2 * amount), axis=(0, 1))
    categories = {s.id: s.category_id for s in sample.true_segments()}
    things, stuff = ([c.id for c in group] for group in (CATEGORIES.things, CATEGORIES.stuff))
    for segment in sample.true_segments():
        chance = rng.random() / amount
        group = things if segment.is_thing else stuff
        if chance < 0.35:
            categories[segment.id] = group[rng.integers(len(group))]
        elif chance < 0.7 and segment.is_thing:
            around = np.unique(ids[ids != segment.id])
            ids[ids == segment.id] = around[rng.integers(len(around))]
        elif chance < 1 and segment.is_thing:
            rows = np.flatnonzero((ids == segment.id).any(1))
            upper = ids[: rows[len(rows) // 2]] if len(rows) else ids[:0]
            upper[upper == segment.id] = 0
    if rng.random() < 1.5 * amount:
        y, x = (int(rng.integers(0, side - 24)) for side in ids.shape)
        ids[y : y + 24, x : x + 22] = new = int(ids.max()) + 1
        categories[new] = things[rng.integers(len(things))]
    segments = []
    for number, (area, box) in measure_segments(ids).items():
        is_thing = CATEGORIES.by_id[categories[number]].is_thing
        score = 0.5 + 0.5 * float(rng.random()) if is_thing else None
        segments.append(Segment(number, categories[number], is_thing, area, score, bbox=box))
    return PanopticMap(torch.from_numpy(ids), segments)


def attention_of(sample: Sample) -> dict[str, torch.Tensor]:
    """High on stuff, coarser from map to map."""
    stuff = np.isin(sample.segment_map, [0, *(n for n, s in enumerate(sample.segments, 1) if not s.is_thing)])
    values = torch.from_numpy(stuff.astype(np.float32))[None, None] * 0.7 + 0.15
    maps = {}
    for name, stride in zip(MAPS, (4, 8, 16, 32, 4), strict=True):
        small = torch.nn.functional.avg_pool2d(values, stride, ceil_mode=True)
        maps[name] = torch.nn.functional.interpolate(small, size=stuff.shape, mode="bilinear")[0, 0]
    return maps


def outcomes_of(samples: dict[int, Sample], predictions: dict[int, PanopticMap], categories: Categories) -> Outcomes:
    return Outcomes.join([Outcomes.of(overlap_of(samples[i], predictions[i], categories), i) for i in samples])


def overlap_of(sample: Sample, prediction: PanopticMap, categories: Categories) -> Any:
    true = (sample.true_ids(), sample.true_segments())
    return measure_overlap(prediction.ids, prediction.segments, *true, categories)


def scene_report(
    num_images: int = 24,
    *,
    size: tuple[int, int] = (128, 160),
    shown: int = 24,
    champion: float = 0.5,
    attention: bool = True,
    name: str | None = None,
) -> SceneReport:
    """A report on scenes.

    Args:
        champion: how much the predictions of the model to compare with are damaged; 0: there is none.
        name: of one category, in place of its own.
    """
    rng = np.random.default_rng(0)
    categories = CATEGORIES
    if name is not None:
        categories = Categories((replace(CATEGORIES.entries[0], name=name), *CATEGORIES.entries[1:]))
    samples = {n + 1: scene_sample(n, *size) for n in range(num_images)}
    predictions = {i: damaged(sample, rng, 0.22) for i, sample in samples.items()}
    outcomes = outcomes_of(samples, predictions, categories)
    theirs = outcomes_of(samples, {i: damaged(s, rng, champion or 0.5) for i, s in samples.items()}, categories)
    items = []
    for pick in choose(outcomes, categories, theirs if champion else None, most=shown):
        sample = samples[pick.image_id]
        maps, unguided = (attention_of(sample), damaged(sample, rng, 0.3)) if attention else ({}, None)
        items.append(draw_item(sample, predictions[pick.image_id], maps, unguided, pick, categories))
    counts = outcomes.counts(categories)
    quality, semantic = counts.quality(categories), SemanticIoU(categories)
    for i, sample in samples.items():
        semantic.add(overlap_of(sample, predictions[i], categories))
    iou = semantic.per_class()
    document = ReportDocument(
        title="shapes_smoke",
        facts={
            "run": "shapes_smoke-8c1f2e90ab43",
            "data": "5d0c7a1e93b2f684",
            "steps": "600",
            "images": str(num_images),
        },
        metrics={**quality.metrics(), "AP": 34.2, "AP_box": 36.9, "mIoU": semantic.compute()},
        per_class=[row | {"IoU": iou[row["category_id"]]} for row in quality.rows()],
        attention={m: {"things": 0.21, "stuff": 0.78, "difference": 0.57} for m in MAPS} if attention else {},
        categories=categories,
        outcomes=outcomes,
        gallery=items,
        events=list(training_events()),
        config={"name": "shapes_smoke", "loss": {"rpn": 1.0, "box": 1.0, "mask": 1.0, "semantic": 0.3}},
        comparison=compare(counts, theirs.counts(categories), categories) if champion else None,
        champion="models:/shapes_smoke@champion" if champion else "",
        data=data(categories),
        lineage={"data": "5d0c7a1e93b2f684", "code": "38be9fd", "configuration": "c41d0e7f2a98b635"},
        command="python -m jobs reproduce runs/shapes_smoke-8c1f2e90ab43",
    )
    return SceneReport(document, samples, predictions)


def training_events() -> Any:
    """Of a training with a failure in the middle."""
    at = itertools.count(1_700_000_000, 2)
    yield {"kind": "start", "step": 0, "at": next(at), "workers": 2}
    for step in range(10, 601, 10):
        decay = 1 / (1 + step / 120)
        noise = np.random.default_rng(step).normal(1, 0.05, 4)
        values = (np.array([0.4, 0.5, 0.7, 2.0]) * decay + 0.08) * noise
        terms = dict(zip(("rpn", "box", "mask", "semantic"), values.tolist(), strict=True))
        loss = terms["rpn"] + terms["box"] + terms["mask"] + 0.3 * terms["semantic"]
        figures = {"loss": loss, **terms, "lr": 0.01 * decay, "forward_ms": 60.0, "backward_ms": 110.0}
        yield {"kind": "step", "step": step, "at": next(at), **{k: float(v) for k, v in figures.items()}}
        if step % 100 == 0:
            yield {"kind": "checkpoint", "step": step, "at": next(at), "name": f"step-{step}", "seconds": 0.4}
            pq = 62 * (1 - decay)
            yield {"kind": "evaluation", "step": step, "at": next(at), "PQ": pq, "PQ_th": pq - 7, "PQ_st": pq + 6}
        if step == 330:
            yield {"kind": "failure", "step": 330, "at": next(at), "rank": 1, "error": "SIGKILL", "final": False}
            text = "rank 1 was killed; resuming from step 300 with 2 workers; 30 steps are computed again"
            yield {"kind": "restart", "step": 300, "at": next(at) + 5, "workers": 2, "text": text, "recomputed": 30}
    yield {"kind": "end", "step": 600, "at": next(at), "text": "finished after step 600"}


def data(categories: Categories) -> dict[str, Any]:
    """A data card."""
    counts = np.random.default_rng(1).integers(20, 900, (2, len(categories)))
    splits = {
        name: {
            "images": images,
            "quarantined": 0,
            "fingerprint": fingerprint,
            "segments": counts[n].tolist(),
            "sizes": [[160, 128, images]],
            "num_sizes": 1,
        }
        for n, (name, images, fingerprint) in enumerate(
            (("train", 400, "a1b2c3d4e5f60718"), ("val", 96, "0f1e2d3c4b5a6978"))
        )
    }
    return {"fingerprint": "5d0c7a1e93b2f684", "categories": len(categories), "splits": splits}
