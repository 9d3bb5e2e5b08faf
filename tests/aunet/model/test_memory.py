"""What a pass needs, without doing it, against the tensors of a pass that is done."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from aunet.config import LossWeights
from aunet.model import build_model
from aunet.model.costs import DEFORMABLE
from aunet.model.memory import LiveBytes, training_costs
from tests.tiny import CATEGORIES, TINY, make_batch

SIZE, IMAGES, BOXES = (192, 256), 2, [[8, 8, 90, 100], [100, 40, 200, 160], [20, 100, 60, 180]]


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_a_real_pass_holds_as_much(precision: torch.dtype | None) -> None:
    predicted = training_costs(TINY, CATEGORIES, SIZE, IMAGES, len(BOXES), precision)
    torch.manual_seed(0)
    model = build_model(TINY, CATEGORIES).train()
    with FlopCounterMode(display=False, custom_mapping=DEFORMABLE) as counter, LiveBytes() as live:
        batch = make_batch([BOXES] * IMAGES, SIZE)
        with torch.autocast("cpu", precision, enabled=precision is not None):
            loss = model(batch).total(LossWeights())
        loss.backward()
    assert predicted.peak == pytest.approx(live.peak, rel=0.1)
    assert predicted.flops == pytest.approx(counter.get_total_flops(), rel=0.1)
    assert predicted.weights == sum(t.nbytes for t in (*model.parameters(), *model.buffers()))


def test_frozen_weights_have_no_gradients_and_keep_no_activations() -> None:
    backbone = dataclasses.replace(TINY.backbone, norm="frozen_bn", trainable_stages=1)
    frozen = training_costs(dataclasses.replace(TINY, backbone=backbone), CATEGORIES, SIZE, IMAGES, 3)
    trained = training_costs(TINY, CATEGORIES, SIZE, IMAGES, 3)
    assert frozen.trained < trained.trained and frozen.flops < trained.flops


def test_gradients_that_move_away_do_not_add_up() -> None:
    """With little to hold for so many weights, the gradients make the peak."""
    costs = [training_costs(TINY, CATEGORIES, (32, 32), 1, 1, keep_gradients=keep) for keep in (True, False)]
    assert costs[0].peak - costs[1].peak > costs[0].trained / 2


def test_bytes_are_counted_from_creation_to_release() -> None:
    start = torch.zeros(1000)
    with LiveBytes() as live:
        first = start + 1
        view = first.view(10, 100)
        assert live.now == 4000
        first.add_(1)
        second = view * 2
        del first, view
        assert live.now == 4000
        del second
    assert live.now == 0 and live.peak == live.heap_peak == 8000
