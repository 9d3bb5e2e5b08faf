"""Phases add up to the time that they took; a GPU's share of its peak."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from pipelines.training.gpus import GPUS
from pipelines.training.timing import Stopwatch, exchange_figures, utilisation

CPU = torch.device("cpu")


def test_phases_are_means_per_step_since_the_last_call() -> None:
    watch = Stopwatch(CPU)
    for _ in range(2):
        with watch.phase("forward"):
            time.sleep(0.02)
        with watch.phase("backward"):
            time.sleep(0.01)
    figures = watch.figures(2)
    assert figures.keys() == {"forward_ms", "backward_ms"}
    assert 20 <= figures["forward_ms"] < 60 and 10 <= figures["backward_ms"] < 50
    assert watch.figures(2) == {}


def test_a_phase_that_fails_counts() -> None:
    watch = Stopwatch(CPU)
    with pytest.raises(ValueError), watch.phase("input"):
        raise ValueError
    assert "input_ms" in watch.figures(1)


def test_a_rank_alone_exchanges_nothing() -> None:
    assert exchange_figures(nn.Linear(1, 1)) == {}


def test_a_gpu_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert utilisation(1e12, CPU) == {}
    gpu = torch.device("cuda")
    for name, share in (("NVIDIA A100-SXM4-40GB", 0.5), ("Tesla T4", 156 / 65)):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _, name=name: name)
        assert utilisation(156e12, gpu)["mfu"] == pytest.approx(share)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "GPU of another make")
    assert utilisation(1e12, gpu) == {} and "T4" in GPUS
