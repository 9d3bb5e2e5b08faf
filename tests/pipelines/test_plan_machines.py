"""What `plan` says of the machines, and of the learning rate that goes with their batch."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from pipelines import presets
from pipelines.plan import plan


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # whatever other tests have left running


def test_a_cluster_that_grows_is_not_too_small() -> None:
    config = presets.shapes_smoke()
    train = replace(config.train, num_workers=4)
    small = replace(config, train=train, tune=replace(config.tune, max_concurrent=3))
    assert len(plan(small).refused) == 2
    result = plan(small, grows=lambda: True)
    assert result.refused == [] and result.resources["grows"] is True
    grown = [note for note in result.notes if "would have to grow" in note]
    assert [note.partition(":")[0] for note in grown] == ["train", "tune"]
    assert "has 0 GPUs and 2 CPUs and would have to grow to 4 CPUs; whether" in grown[0]
    assert "would have to grow to 3 CPUs; whether" in grown[1]
    assert not any("grow" in note for note in plan(config, grows=lambda: True).notes)


def test_a_plan_shows_the_rate_that_goes_with_the_batch(capsys: pytest.CaptureFixture[str]) -> None:
    config = presets.shapes_smoke()
    train = replace(config.train, lr=0.02, batch_size=8, base_batch_size=16, warmup_steps=7)
    result = plan(replace(config, train=train))
    assert result.learning_rate == 0.01
    assert "learning rate: 0.02 × 8 / 16 = 0.01, after 7 steps of warm-up" in result.notes
    assert "0.01 after the warm-up" in capsys.readouterr().err
    assert plan(config).learning_rate == config.train.lr
