"""Nights of `retrain` without any training: a data set that grows, and stages that take no time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aunet.data.shapes import write_scenes
from aunet.evaluation.outcomes import Fate, Outcomes
from pipelines import presets
from pipelines.data.shards import ShardReader
from pipelines.evaluate import evaluate
from pipelines.measuring.evaluation import Evaluation
from pipelines.register import register
from pipelines.retrain import Stages, Tick, retrain
from pipelines.run import MainJob
from pipelines.settings.overrides import flatten, override
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.store import storage
from pipelines.store.artifacts import PreparedData, RegisteredModel, Report, TrainedRun
from pipelines.store.hashes import write_hashes
from pipelines.tracking import registry, runs as tracking
from pipelines.training.identity import run_folder
from tests.preparing import preprocess_here
from tests.promotions import NUM_IMAGES, no_rehearsal


def measured(pq: float, prepared: PreparedData) -> Evaluation:
    """What measuring a model gives that matches one segment of every category in every image, with an IoU of `pq` %.

    The frozen set has two images; for a comparison that decides, there are as many here as that needs.
    """
    reader = ShardReader(prepared.uri, "val")
    categories = reader.manifest.categories
    return Evaluation(
        metrics={"PQ": pq, "PQ_th": pq / 2},
        per_class=[],
        attention={},
        categories=categories,
        outcomes=matched(range(1, NUM_IMAGES + 1), len(categories), pq / 100),
        tags={},
    )


def matched(image_ids: Sequence[int], num_categories: int, iou: float) -> Outcomes:
    """One true and one predicted segment of every category in every image, which match with this IoU."""
    shape = (len(image_ids), 2, num_categories)
    images, is_predicted, category = (grid.ravel() for grid in np.indices(shape))
    size = len(images)
    return Outcomes.from_plain(
        {
            "images": list(image_ids),
            "image_id": np.array(image_ids)[images],
            "is_predicted": is_predicted,
            "segment_id": category + 1,
            "category": category,
            "area": np.full(size, 100),
            "is_crowd": np.zeros(size),
            "fate": np.full(size, Fate.MATCHED),
            "iou": np.full(size, iou),
            "other_id": category + 1,
            "other_category": category,
            "other_iou": np.full(size, iou),
        }
    )


def artifacts(tick: Tick) -> MainJob:
    """What a tick has made or found; all of it must be there."""
    assert tick.prepared and tick.run and tick.report and tick.model
    return MainJob(prepared=tick.prepared, run=tick.run, report=tick.report, model=tick.model)


class Nights:
    """A data set, ticks on it, and a training and a measurement that take no time."""

    def __init__(self, raw: Path, store: Path) -> None:
        self.raw, self.store = raw, store
        changes = {"data.root": str(raw), "register.margin": 0.5, "data.rows_per_shard": 2}
        self.config = override(presets.camvid_small(), changes)
        self.trained: list[str] = []
        self.measured: list[tuple[str, str]] = []
        """Model and prepared data."""
        self.pq: dict[str, float] = {}
        """Of a run, by its URI; 40 by default."""

    def tick(self, changes: dict[str, Any] | None = None, *, code: str | None = None) -> Tick:
        """A tick with changed settings, by dotted name, or with other code."""
        stages = Stages(
            preprocess=preprocess_here,
            train=self.train,
            evaluate=partial(evaluate, measure=self.measure),
            register=self.register,
        )
        return retrain(override(self.config, changes or {}), stages=stages, version=code)

    def register(self, config: RunConfig, report: Report, **options: Any) -> RegisteredModel:
        return register(config, report, rehearse=no_rehearsal, **options)

    def grow(self, num_train: int, num_val: int = 2) -> None:
        """Give the data set that many images; those it has stay unchanged."""
        write_scenes(self.raw, num_train=num_train, num_val=num_val, height=64, width=80)

    def train(self, config: RunConfig, prepared: PreparedData) -> TrainedRun:
        folder = run_folder(config, prepared)
        if run := folder.trained():
            return run
        self.trained.append(folder.uri)
        folder.write_config(to_json(config))
        settings = {"augment": to_json(config.augment), "fusion": to_json(config.fusion)}
        storage.write_bytes(f"{folder.model_uri}/config.json", json.dumps(settings).encode())
        storage.write_bytes(f"{folder.model_uri}/model.safetensors", folder.name.encode())
        write_hashes(Path(folder.model_uri))
        run = TrainedRun(
            uri=folder.uri,
            fingerprint=folder.name,
            model_uri=folder.model_uri,
            mlflow_run_id=tracking.run_once(folder.mlflow_id_uri, "run", params=flatten(config)),
            steps=1,
        )
        folder.finish(run)
        return run

    def measure(self, config: RunConfig, run: TrainedRun, prepared: PreparedData) -> Evaluation:
        self.measured.append((run.model_uri, prepared.uri))
        return measured(self.pq.get(run.uri, 40.0), prepared)

    @property
    def versions(self) -> dict[str, dict[str, str]]:
        return {str(version.number): dict(version.tags) for version in registry.versions_of("aunet-camvid")}

    @property
    def champion(self) -> str:
        holder = registry.alias_holder("aunet-camvid", "champion")
        assert holder is not None
        return str(holder.number)
