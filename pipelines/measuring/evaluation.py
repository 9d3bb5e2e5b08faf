"""The measurement of a run's model on a validation split, spread over the cluster, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray

from pipelines.data.manifest import Manifest
from pipelines.data.sample_plan import spread
from pipelines.measuring.remote import combine_shares, measure_share
from pipelines.runtime.cluster import connect
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.store.artifacts import PreparedData, TrainedRun

NUM_OVERLAYS = 12
"""Pictures in the report: evenly spread over the validation split."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What was measured, and pictures for the report."""

    metrics: dict[str, float]
    """PQ SQ RQ (all, _th, _st), AP, AP_box and mIoU, in per cent."""
    per_class: list[dict[str, Any]]
    """One row per category: PQ, SQ, RQ, counts and IoU."""
    attention: dict[str, dict[str, float | None]]
    """Per attention map the mean of M' over `things` and `stuff`, and their `difference`."""
    pictures: dict[str, bytes]
    """Name below the report's folder → PNG."""


def measure_split(config: RunConfig, run: TrainedRun, prepared: PreparedData) -> Evaluation:
    """Measure a run's model on the validation split: every worker its share, which one of them adds up.

    The driver handles plain values only: it needs neither torch nor the network.
    """
    connect()
    num_images = Manifest.load(prepared.uri).splits["val"].num_images
    workers = min(config.train.max_workers, num_images)
    shown = spread(range(num_images), NUM_OVERLAYS)
    settings = to_json(config)
    measure = ray.remote(num_cpus=1, num_gpus=int(config.train.use_gpu))(measure_share)
    shares = [
        measure.remote(settings, run.model_uri, prepared.uri, list(range(rank, num_images, workers)), shown)
        for rank in range(workers)
    ]
    combine = ray.remote(num_cpus=1)(combine_shares)
    return Evaluation(**ray.get(combine.remote(*shares)))
