"""Eq. 7 and the semantic loss."""

from __future__ import annotations

import math

import pytest
import torch

from aunet.config import LossWeights
from aunet.losses import LearnedWeights, Losses, semantic_loss


def test_total_is_equation_7() -> None:
    losses = Losses(*(torch.tensor(v) for v in (1.0, 10.0, 100.0, 1000.0)))
    assert float(losses.total(LossWeights(rpn=1, box=2, mask=3, semantic=4))) == 4321.0


def test_learned_weights_are_the_formula_of_kendall_and_others() -> None:
    """Σ exp(-s) L + s / 2, and its derivative 1/2 - exp(-s) L, by hand."""
    values = 0.7, 0.2, 1.5, 3.0
    learned = LearnedWeights(LossWeights(rpn=1.0, box=0.5, mask=2.0, semantic=0.3))
    logs = [0.0, math.log(2), -math.log(2), -math.log(0.3)]
    assert learned.log_variances.tolist() == pytest.approx(logs)
    total = learned(Losses(*(torch.tensor(v) for v in values)))
    by_hand = sum(math.exp(-s) * v + s / 2 for s, v in zip(logs, values, strict=True))
    assert float(total.detach()) == pytest.approx(by_hand, rel=1e-6)
    total.backward()
    gradient = learned.log_variances.grad
    assert gradient is not None
    expected = [0.5 - math.exp(-s) * v for s, v in zip(logs, values, strict=True)]
    assert gradient.tolist() == pytest.approx(expected, rel=1e-5)
    assert learned.current() == pytest.approx({"rpn": 1.0, "box": 0.5, "mask": 2.0, "semantic": 0.3})


def test_learned_weights_end_where_every_loss_weighs_the_same() -> None:
    losses = Losses(*(torch.tensor(v) for v in (0.1, 0.5, 1.0, 4.0)))
    learned = LearnedWeights(LossWeights(semantic=1.0))
    optimizer = torch.optim.SGD(learned.parameters(), lr=0.5)
    for _ in range(300):
        optimizer.zero_grad()
        learned(losses).backward()
        optimizer.step()
    expected = {"rpn": 5.0, "box": 1.0, "mask": 0.5, "semantic": 0.125}
    assert learned.current() == pytest.approx(expected, rel=1e-3)


def test_a_loss_that_is_switched_off_is_not_learned() -> None:
    learned = LearnedWeights(LossWeights(mask=0.0))
    losses = [torch.tensor(v, requires_grad=True) for v in (1.0, 1.0, 1e30, 1.0)]
    learned(Losses(*losses)).backward()
    assert learned.log_variances.grad is not None and float(learned.log_variances.grad[2]) == 0
    assert losses[2].grad is not None and float(losses[2].grad) == 0
    assert learned.current()["mask"] == 0


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
