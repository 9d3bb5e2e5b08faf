"""Nights of `retrain` without any training: a data set that grows, and stages that take no time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aunet.data.shapes import write_scenes
from aunet.evaluation.attention_contrast import AttentionContrast
from pipelines import preprocess, presets, register, retrain, storage, tracking, train
from pipelines.artifacts import TrainedRun
from pipelines.config import RunConfig, to_json
from pipelines.overrides import override


class Measured:
    """What measuring a model gives."""

    def __init__(self, pq: float) -> None:
        self.pq, self.attention = pq, AttentionContrast()

    def metrics(self) -> dict[str, float]:
        return {"PQ": self.pq, "PQ_th": self.pq / 2}

    def per_class(self) -> list[dict[str, Any]]:
        return []


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
        """Of a run; 40 where nothing is said."""

    def tick(self, **changes: Any) -> dict[str, Any]:
        return retrain.retrain(override(self.config, changes))

    def grow(self, num_train: int, num_val: int = 2) -> None:
        """Give the data set so many images; those that are there stay as they are."""
        write_scenes(self.raw, num_train=num_train, num_val=num_val, height=64, width=80)

    def train(self, config: RunConfig) -> TrainedRun:
        prepared = preprocess.preprocess(config)
        uri = train.run_uri(config, prepared)
        if storage.exists(storage.join(uri, train.ARTIFACT)):
            return train.load_run(uri)
        self.trained.append(uri)
        storage.write_bytes(storage.join(uri, "config.json"), b"{}")
        storage.write_bytes(storage.join(uri, "events.jsonl"), b"")
        settings = {"augment": to_json(config.augment), "fusion": to_json(config.fusion)}
        storage.write_bytes(storage.join(uri, "model/config.json"), json.dumps(settings).encode())
        run = TrainedRun(
            uri=uri, fingerprint=train.run_id(config, prepared), model_uri=storage.join(uri, "model"),
            mlflow_run_id=tracking.start_run("run", {}), steps=1,
        )  # fmt: skip
        storage.write_bytes(storage.join(uri, train.ARTIFACT), run.to_json().encode())
        return run

    def measure(
        self, config: RunConfig, run: TrainedRun, prepared_uri: str, _: int
    ) -> tuple[Measured, dict[str, bytes]]:
        self.measured.append((run.model_uri, prepared_uri))
        return Measured(self.pq.get(run.uri, 40.0)), {}

    @property
    def versions(self) -> dict[str, dict[str, str]]:
        found = tracking.client().search_model_versions("name='aunet-camvid'")
        return {str(version.version): dict(version.tags) for version in found}

    @property
    def champion(self) -> str:
        return str(register.alias_holder("aunet-camvid", "champion").version)
