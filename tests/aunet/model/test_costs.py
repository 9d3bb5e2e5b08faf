"""Parameters and FLOPs: a network small enough to count by hand, then every preset against the golden figures."""

from __future__ import annotations

import json

import torch
from torch.utils.flop_counter import FlopCounterMode

from aunet.model import build_model
from aunet.model.costs import DEFORMABLE, costs
from aunet.model.resnext import DeformableConv
from benchmarks.network_costs import DOCUMENT, GOLDEN, all_costs, table
from tests.tiny import CATEGORIES, TINY, with_attention

REMEDY = "look at the difference, then: python benchmarks/network_costs.py"


def test_by_hand() -> None:
    counted = costs(with_attention(TINY, pam=False, mam=False), CATEGORIES, (64, 96))
    cells = 16 * 24 + 8 * 12 + 4 * 6 + 2 * 3
    classifier = 2 * 16 * 24 * 16 * 3
    assert counted.flops["background"] == 2 * cells * 9 * 16 * 16 + classifier  # one 3×3 convolution 16 → 16 per level
    pool = 1 * 2
    assert counted.flops["rpn"] == 2 * (cells + pool) * 16 * (9 * 16 + 3 + 12)  # 3×3, then 3 scores and 12 deltas
    model = build_model(TINY, CATEGORIES)
    parameters = costs(TINY, CATEGORIES, (64, 96)).parameters
    assert sum(parameters.values()) == sum(p.numel() for p in model.parameters())


def test_a_deformable_convolution_counts_as_a_plain_one_and_its_offsets() -> None:
    with torch.device("meta"):
        plain = torch.nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=2, bias=False)
        deformable, x = DeformableConv(plain), torch.zeros(2, 8, 10, 12)
        with FlopCounterMode(display=False, custom_mapping=DEFORMABLE) as counter:
            deformable(x)
    assert counter.get_total_flops() == 2 * (2 * 5 * 6) * (8 * 4 * 9 + 18 * 8 * 9)


def test_every_preset_has_the_golden_costs() -> None:
    assert all_costs() == json.loads(GOLDEN.read_text()), f"drifted; {REMEDY}"


def test_the_document_has_the_table() -> None:
    assert table(json.loads(GOLDEN.read_text())) in DOCUMENT.read_text(), f"drifted; {REMEDY}"
