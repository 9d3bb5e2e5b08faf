"""Eq. 7 and the semantic loss."""

from __future__ import annotations

import pytest
import torch

from aunet.config import LossWeights
from aunet.losses import Losses, semantic_loss


def test_total_is_equation_7() -> None:
    losses = Losses(*(torch.tensor(v) for v in (1.0, 10.0, 100.0, 1000.0)))
    assert float(losses.total(LossWeights(rpn=1, box=2, mask=3, semantic=4))) == 4321.0


def test_void_is_ignored() -> None:
    logits = torch.zeros(1, 2, 2, 2)
    logits[:, 0] = 10
    labels = torch.zeros(1, 2, 2, dtype=torch.int64)
    labels[0, 0, 0] = -1
    assert float(semantic_loss(logits, labels)) < 1e-3
    labels[0, 0, 0] = 1
    assert float(semantic_loss(logits, labels)) > 2


def test_all_void_is_zero_with_a_gradient() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = semantic_loss(logits, torch.full((2, 8, 8), -1))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None and not logits.grad.any()


def test_hard_pixels_average_the_worst() -> None:
    logits = torch.zeros(1, 2, 2, 2)
    logits[0, 0] = torch.tensor([[5.0, 5.0], [5.0, -5.0]])
    labels = torch.zeros(1, 2, 2, dtype=torch.int64)
    worst = float(torch.nn.functional.cross_entropy(torch.tensor([[-5.0, 0.0]]), torch.tensor([0])))
    assert float(semantic_loss(logits, labels, hard_pixels=0.25)) == pytest.approx(worst)
    assert float(semantic_loss(logits, labels)) == pytest.approx(
        float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-6
    )
