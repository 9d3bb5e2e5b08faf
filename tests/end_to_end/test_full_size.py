"""The paper's networks at the paper's sizes: one step forward and back on a CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from aunet.categories import Categories, Category
from aunet.losses import Losses
from aunet.model import build_model
from pipelines import presets
from tests.tiny import make_batch

COCO = Categories(tuple(Category(id=n, name=str(n), is_thing=n <= 80) for n in range(1, 134)))
CITYSCAPES = Categories(tuple(Category(id=n, name=str(n), is_thing=n > 11) for n in range(1, 20)))
THINGS = [[50, 60, 300, 400], [400, 100, 500, 180], [20, 20, 45, 60]]


@pytest.mark.parametrize(
    ("preset", "categories", "size"),
    [("coco_r50", COCO, (608, 800)), ("cityscapes_r50", CITYSCAPES, (512, 1024))],
)
def test_one_training_step(preset: str, categories: Categories, size: tuple[int, int]) -> None:
    config = getattr(presets, preset)()
    torch.manual_seed(0)
    backbone = replace(config.model.backbone, weights=None)
    model = build_model(replace(config.model, backbone=backbone), categories).train()
    losses = model(make_batch([THINGS, []], size))
    assert isinstance(losses, Losses)
    assert all(torch.isfinite(value) for value in losses)
    losses.total(config.loss).backward()
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert not [name for name, p in trainable.items() if p.grad is None or not torch.isfinite(p.grad).all()]

    model.zero_grad()
    empty = model(make_batch([[], []], (128, 160)))
    empty.total(config.loss).backward()
    assert not [name for name, p in trainable.items() if p.grad is None]
