"""Learning rate by step, decay by kind of parameter, averaged weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import nn

from pipelines.settings.run_config import TrainConfig
from pipelines.training.optimization import average_weights, build_optimizer, learning_rate


def test_the_papers_schedule() -> None:
    config = TrainConfig()  # 18 epochs, 0.02, dropped at 15 and 18, warm-up 1000
    rate = [learning_rate(config, step, 18_000) for step in (0, 500, 1000, 14_999, 15_000, 17_999)]
    assert rate == pytest.approx([0.02 * 0.001, 0.02 * 0.5005, 0.02, 0.02, 0.002, 0.002])


def test_flat_then_cosine() -> None:
    config = TrainConfig(schedule="flat_cosine", cooldown=0.5, warmup_steps=0, lr=1.0)
    assert learning_rate(config, 400, 1000) == 1.0
    assert learning_rate(config, 750, 1000) == pytest.approx(0.5)
    assert learning_rate(config, 999, 1000) < 1e-4
    cosine = replace(config, schedule="cosine")
    assert learning_rate(cosine, 500, 1000) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_norms_and_biases_do_not_decay(kind: Literal["sgd", "adamw"]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4))
    groups = build_optimizer(model, TrainConfig(optimizer=kind, weight_decay=0.1)).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(1, 0.1), (3, 0.0)]
    groups = build_optimizer(model, TrainConfig(optimizer=kind, weight_decay=0.1, decay_norms=True)).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(4, 0.1)]


def test_the_average_follows_the_weights() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = average_weights(model, decay=0.9)
    average.update_parameters(model)
    nn.init.ones_(model.weight)
    for _ in range(200):
        average.update_parameters(model)
    (averaged,) = average.module.parameters()
    assert 0.999 < float(averaged.detach()) < 1.0
    assert torch.equal(model.weight.detach(), torch.ones(1, 1))
