"""Figures of the machine, under MLflow's names for system metrics."""

from __future__ import annotations

import math

import pytest
import torch

from pipelines.training.system import SystemFigures


def test_figures_of_a_machine() -> None:
    figures = SystemFigures(torch.device("cpu"))()
    assert set(figures) >= {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/system_memory_usage_percentage",
        "system/disk_usage_percentage",
    }
    assert all(math.isfinite(value) and value >= 0 for value in figures.values())
    assert all(value <= 100 for name, value in figures.items() if name.endswith("percentage"))


def test_a_gpu_without_a_figure_for_its_use_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []

    def unsupported(gpu: torch.device) -> int:
        asked.append(gpu)
        raise RuntimeError("Not Supported")

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: (1 << 30, 4 << 30))
    monkeypatch.setattr(torch.cuda, "utilization", unsupported)
    figures = SystemFigures(torch.device("cpu"))
    figures.gpu, figures.has_nvml = torch.device("cuda", 0), True
    assert "system/gpu_0_utilization_percentage" not in figures() | figures() and asked == [figures.gpu]


@pytest.mark.gpu
def test_figures_of_a_gpu() -> None:
    held = torch.zeros(64 * 2**20, dtype=torch.uint8, device="cuda")
    figures = SystemFigures(held.device)()
    assert figures["system/gpu_0_memory_usage_megabytes"] > 64
    assert 0 < figures["system/gpu_0_memory_usage_percentage"] <= 100
