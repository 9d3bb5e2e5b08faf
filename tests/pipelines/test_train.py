"""A run that is watched can be ended early, and goes on; one that is measured beside releases its best checkpoint."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipelines import presets
from pipelines.preprocess import preprocess
from pipelines.runtime.interruption import Stopped
from pipelines.settings.overrides import override
from pipelines.store import storage
from pipelines.store.run_folder import RunFolder
from pipelines.tracking import runs as tracking
from pipelines.training.checkpoint import read_checkpoint
from pipelines.training.driver import train_run
from pipelines.training.identity import run_folder

CONFIG = override(
    presets.shapes_smoke(),
    {
        "data.shapes.num_train": 4,
        "data.shapes.num_val": 2,
        "data.shapes.height": 64,
        "data.shapes.width": 96,
        "augment.crop": [64, 96],
        "model.backbone.fpn_channels": 16,
        "model.foreground.box_channels": 32,
        "model.foreground.mask_channels": 16,
        "model.background.channels": 16,
        "train.batch_size": 2,
        "train.epochs": 2,
        "train.checkpoint_every": 1,
        "train.evaluate_every": 1,
    },
)


def test_a_stopped_run_frees_its_workers_and_can_go_on(ray_cluster: None, mlflow_store: Path) -> None:
    """It trains on two workers of a cluster with two CPUs: what the first call kept, the second would wait for."""
    import ray

    assert CONFIG.train.num_workers == 2
    asked: list[float] = []

    def stop(event: dict[str, Any]) -> bool:
        asked.append(event["epoch"])
        return len(asked) == 1

    prepared = preprocess(CONFIG)
    with pytest.raises(Stopped):
        train_run(CONFIG, prepared, listeners=[], stop=stop)
    assert asked == [1.0]
    uri = Path(run_folder(CONFIG, prepared).uri)
    run = tracking.client().get_run((uri / "mlflow_run_id").read_text())
    assert run.info.status == "KILLED"
    assert not (uri / "run.json").exists()
    end = time.monotonic() + 300
    while ray.available_resources().get("CPU") != 2:
        assert time.monotonic() < end, "the stopped run still holds CPUs"
        time.sleep(0.2)

    finished = train_run(CONFIG, prepared, listeners=[], stop=stop)
    events = RunFolder(str(uri)).history.events()
    assert [event["epoch"] for event in events if event["kind"] == "evaluation"] == [1.0, 2.0]
    assert asked == [1.0, 2.0]
    assert finished.mlflow_run_id == run.info.run_id
    assert tracking.client().get_run(run.info.run_id).info.status == "FINISHED"
    assert os.path.isdir(finished.model_uri)


def test_measured_beside_the_training_the_best_is_released(ray_cluster: None, mlflow_store: Path) -> None:
    """One CPU trains, the other one measures."""
    changes = {
        "train.num_workers": 1,
        "train.validate": "beside",
        "train.release": "best",
        "train.keep_last": 1,
        "train.epochs": 4,
        "train.checkpoint_every": 0,
    }
    config = override(CONFIG, changes)
    prepared = preprocess(config)
    shown: list[dict[str, Any]] = []
    run = train_run(config, prepared, listeners=[shown.append])
    folder = RunFolder(run.uri)
    measured = {event["step"]: event["PQ"] for event in folder.history.events() if event["kind"] == "evaluation"}
    assert sorted(measured) == [2, 4, 6, 8] and run.steps == max(measured, key=lambda step: (measured[step], -step))
    assert {checkpoint.step for checkpoint in folder.checkpoints.complete()} >= {run.steps, 8}
    (chosen,) = [checkpoint for checkpoint in folder.checkpoints.complete() if checkpoint.step == run.steps]
    with storage.local_folder(chosen.uri) as local:
        _, state = read_checkpoint(local)
    weights = load_file(Path(run.model_uri) / "model.safetensors")
    averaged = state["average"]
    assert all(torch.equal(weights[name], averaged[f"module.{name}"]) for name in weights)
    assert [event["kind"] for event in shown].count("evaluation") == 4
    assert train_run(config, prepared, listeners=[]) == run
