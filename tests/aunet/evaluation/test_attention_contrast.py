"""Attention over things and stuff: by hand, in parts, and where one of them never occurs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aunet.evaluation.attention_contrast import AttentionContrast
from aunet.structures import Segment

THING, CROWD, STUFF = Segment(5, 1, True, 0), Segment(6, 1, True, 0, is_crowd=True), Segment(1_000_000, 2, False, 0)
IDS = np.array([[5, 5, 0, 6], [1_000_000, 1_000_000, 1_000_000, 1_000_000]], np.int32)
MAPS = {
    "pam2": torch.tensor([[0.1, 0.2, 0.9, 0.6], [1.0, 0.5, 0.7, 0.8]]),
    "mam": torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]]),
}


def test_by_hand() -> None:
    contrast = AttentionContrast()
    contrast.update(MAPS, IDS, [THING, CROWD, STUFF])
    assert contrast.compute() == {
        "pam2": pytest.approx({"things": 0.3, "stuff": 0.75, "difference": 0.45}),
        "mam": pytest.approx({"things": 0.0, "stuff": 0.75, "difference": 0.75}),
    }


def test_pixels_count_alike_whatever_image_they_are_of() -> None:
    large = {"pam2": torch.full((10, 10), 0.5)}
    contrast = AttentionContrast()
    contrast.update(large, np.full((10, 10), 5), [THING])
    contrast.update({"pam2": torch.ones(1, 25)}, torch.full((1, 25), 5), [THING])
    assert contrast.compute()["pam2"]["things"] == pytest.approx((100 * 0.5 + 25) / 125)


def test_parts_add_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    total, even, odd = AttentionContrast(), AttentionContrast(), AttentionContrast()
    for number in range(6):
        maps = {name: torch.from_numpy(rng.random((7, 9))) for name in ("pam2", "mam")}
        ids = rng.choice([0, 5, 6, 1_000_000], (7, 9))
        for contrast in (total, odd if number % 2 else even):
            contrast.update(maps, ids, [THING, CROWD, STUFF])
    even.merge(odd)
    even.merge(AttentionContrast())
    for name, row in total.compute().items():
        assert even.compute()[name] == pytest.approx(row)


def test_sums_of_many_pixels_are_exact() -> None:
    contrast = AttentionContrast()
    contrast.update({"mam": torch.full((1024, 2048), 0.1)}, np.full((1024, 2048), 5, np.int32), [THING])
    assert contrast.compute()["mam"]["things"] == pytest.approx(0.1, abs=1e-8)


def test_no_things_no_attention_and_another_size() -> None:
    contrast = AttentionContrast()
    contrast.update({}, IDS, [THING, CROWD, STUFF])
    assert contrast.compute() == {}
    contrast.update(MAPS, IDS * 0, [])
    contrast.update({"pam2": torch.ones(1, 1)}, np.array([[1_000_000]]), [STUFF])
    assert contrast.compute()["pam2"] == {"things": None, "stuff": 1.0, "difference": None}
    assert contrast.compute()["mam"] == {"things": None, "stuff": None, "difference": None}
    with pytest.raises(ValueError, match=r"size of true_ids, \[2, 4\]"):
        contrast.update({"pam2": torch.ones(3, 3)}, IDS, [THING])
