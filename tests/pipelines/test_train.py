"""A run that is watched can be ended early: all it held is free at once, and the same call goes on."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines import presets, tracking
from pipelines.overrides import override
from pipelines.preprocess import preprocess
from pipelines.progress import Stopped
from pipelines.train import run_uri, train

CONFIG = override(
    presets.shapes_smoke(),
    {
        "data.shapes.num_train": 4, "data.shapes.num_val": 2, "data.shapes.height": 64, "data.shapes.width": 96,
        "augment.crop": [64, 96], "model.backbone.fpn_channels": 16, "model.foreground.box_channels": 32,
        "model.foreground.mask_channels": 16, "model.background.channels": 16, "train.batch_size": 2,
        "train.epochs": 3, "train.checkpoint_every": 1, "train.evaluate_every": 1,
    },
)  # fmt: skip


def test_a_stopped_run_frees_its_workers_and_can_go_on(ray_cluster: None, mlflow_store: Path) -> None:
    """It trains on two workers of a cluster with two CPUs: what the first call kept, the second would wait for."""
    import ray

    assert CONFIG.train.num_workers == 2
    asked: list[float] = []

    def stop(event: dict[str, Any]) -> bool:
        asked.append(event["epoch"])
        return len(asked) == 1

    with pytest.raises(Stopped):
        train(CONFIG, listeners=[], stop=stop)
    assert asked == [1.0]
    uri = Path(run_uri(CONFIG, preprocess(CONFIG)))
    run = tracking.client().get_run((uri / "mlflow_run_id").read_text())
    assert run.info.status == "KILLED"
    assert not (uri / "run.json").exists()
    end = time.monotonic() + 120
    while ray.available_resources().get("CPU") != 2:
        assert time.monotonic() < end, "the stopped run still holds CPUs"
        time.sleep(0.2)

    finished = train(CONFIG, listeners=[], stop=stop)
    events = [json.loads(line) for line in (uri / "events.jsonl").read_text().splitlines()]
    assert [event["epoch"] for event in events if event["kind"] == "evaluation"] == [1.0, 2.0, 3.0]
    assert asked == [1.0, 2.0, 3.0]
    assert finished.mlflow_run_id == run.info.run_id
    assert tracking.client().get_run(run.info.run_id).info.status == "FINISHED"
    assert os.path.isdir(finished.model_uri)
