"""Learning rate by step, decay by kind of parameter, averaged weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import nn

from aunet.config import LossWeights
from aunet.losses import LearnedWeights
from aunet.model import build_model
from pipelines.settings.run_config import TrainConfig
from pipelines.training.optimization import average_weights, build_optimizer, group_rate, learning_rate
from tests.tiny import CATEGORIES, TINY


def test_the_papers_schedule() -> None:
    config = TrainConfig()  # 18 epochs, 0.02, dropped at 15 and 18, warm-up 1000
    rate = [learning_rate(config, step, 18_000) for step in (0, 500, 1000, 14_999, 15_000, 17_999)]
    assert rate == pytest.approx([0.02 * 0.001, 0.02 * 0.5005, 0.02, 0.02, 0.002, 0.002])


def test_the_rate_follows_the_batch_where_its_base_is_given() -> None:
    config = TrainConfig(batch_size=64, base_batch_size=16)
    assert config.peak_lr == 0.08
    rate = [learning_rate(config, step, 18_000) for step in (0, 500, 1000)]
    assert rate == pytest.approx([0.08 * 0.001, 0.08 * 0.5005, 0.08])  # the warm-up keeps its steps
    assert {group["lr"] for group in build_optimizer(nn.Linear(1, 1), config).param_groups} == {0.08}
    assert TrainConfig(batch_size=64).peak_lr == 0.02


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


class Whole(nn.Module):
    """A backbone with a pyramid, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({"body": nn.Conv2d(3, 4, 1), "fpn": nn.Conv2d(4, 4, 1)})
        self.rpn = nn.Conv2d(4, 1, 1)


def test_the_backbone_can_have_a_rate_of_its_own() -> None:
    config = TrainConfig(
        lr=1.0, warmup_steps=0, backbone_lr_factor=0.1, backbone_frozen_epochs=2, epochs=10, milestones=(5,)
    )
    model = Whole()
    groups = build_optimizer(model, config).param_groups
    marked = {id(p) for group in groups if group.get("is_backbone") for p in group["params"]}
    assert marked == {id(p) for p in model.backbone["body"].parameters()} and len(groups) == 4
    assert sum(len(group["params"]) for group in groups) == 6
    assert [group["weight_decay"] for group in groups] == [config.weight_decay, 0.0] * 2
    for step, (rate, own) in {0: (1, 0), 199: (1, 0), 200: (1, 0.1), 600: (0.1, 0.01)}.items():
        assert [group_rate(g, config, step, 1000) for g in groups] == pytest.approx([rate, rate, own, own])


@pytest.mark.parametrize("name", ["resnet18", "timm:tf_efficientnet_lite0"])
def test_every_stage_can_learn_more_slowly_than_the_one_above(name: str) -> None:
    if name.startswith("timm:"):
        pytest.importorskip("timm", reason="needs timm: the library's extra `timm`")
    config = replace(TINY, backbone=replace(TINY.backbone, name=name, norm="bn"))
    model = build_model(config, CATEGORIES)
    train = TrainConfig(lr=1.0, warmup_steps=0, backbone_lr_factor=0.5, stage_lr_decay=0.1)
    names = {id(p): n for n, p in model.named_parameters()}
    rates: dict[float, set[str]] = {}
    for group in build_optimizer(model, train).param_groups:
        rate = round(group_rate(group, train, 0, 1000), 9)
        rates.setdefault(rate, set()).update(names[id(p)] for p in group["params"])
    assert sorted(rates) == [0.00005, 0.0005, 0.005, 0.05, 0.5, 1.0]
    assert all(n.startswith("backbone.body.") == (rate < 1) for rate, own in rates.items() for n in own)
    first, last = ("conv1.", "layer4.") if name == "resnet18" else ("network.conv_stem.", "network.blocks.6.")
    assert any(first in n for n in rates[0.00005]) and any(last in n for n in rates[0.5])
    assert sum(map(len, rates.values())) == len(names)


def test_learned_weights_do_not_decay_and_move_faster() -> None:
    learned = LearnedWeights(LossWeights())
    config = TrainConfig(weight_decay=0.1, decay_norms=True, lr=0.02, warmup_steps=0)
    *others, last = build_optimizer(Whole(), config, learned).param_groups
    assert last["params"] == [learned.log_variances] and last["weight_decay"] == 0
    assert group_rate(last, config, 0, 1000) == pytest.approx(0.2)
    assert [group["weight_decay"] for group in others] == [0.1]


def test_with_one_rate_for_all_the_groups_are_those_of_earlier_checkpoints() -> None:
    groups = build_optimizer(Whole(), TrainConfig()).param_groups
    assert [len(group["params"]) for group in groups] == [3, 3] and not any("is_backbone" in group for group in groups)


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
