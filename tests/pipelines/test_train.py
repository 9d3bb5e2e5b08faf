"""A run that is watched can be ended early: all it held is free at once, and the same call goes on."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines import presets
from pipelines.preprocess import preprocess
from pipelines.runtime.progress import Stopped
from pipelines.settings.overrides import override
from pipelines.tracking import runs as tracking
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
    end = time.monotonic() + 120
    while ray.available_resources().get("CPU") != 2:
        assert time.monotonic() < end, "the stopped run still holds CPUs"
        time.sleep(0.2)

    finished = train_run(CONFIG, prepared, listeners=[], stop=stop)
    events = [json.loads(line) for line in (uri / "events.jsonl").read_text().splitlines()]
    assert [event["epoch"] for event in events if event["kind"] == "evaluation"] == [1.0, 2.0]
    assert asked == [1.0, 2.0]
    assert finished.mlflow_run_id == run.info.run_id
    assert tracking.client().get_run(run.info.run_id).info.status == "FINISHED"
    assert os.path.isdir(finished.model_uri)
