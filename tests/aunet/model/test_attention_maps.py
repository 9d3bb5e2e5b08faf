"""Attention maps at the size of the image: by hand, without the padding, mirrored back, averaged."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from aunet.model import AttentionView, attention_views, merge_attention


def output(**maps: Tensor) -> Any:
    return SimpleNamespace(semantic=SimpleNamespace(attention=maps))


def view(values: list[list[float]], *, flip: bool = False) -> AttentionView:
    """Cells of 4 × 4 pixels that fill the image."""
    cells = torch.tensor(values)[None, None]
    return AttentionView({"mam": cells}, {"mam": 4}, (4 * cells.shape[2], 4 * cells.shape[3]), flip)


def test_bilinear_by_hand() -> None:
    row = view([[0.0, 1.0]]).resized("mam", (4, 8))[0]
    assert row.tolist() == [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]


def test_a_mirrored_view_is_mirrored_back_and_views_are_averaged() -> None:
    plain, mirrored = view([[0.0, 1.0]]), view([[0.5, 0.0]], flip=True)
    merged = merge_attention([plain, mirrored], (4, 8))["mam"]
    assert merged[0, 0] == 0 and merged[0, -1] == 0.75
    assert merge_attention([], (4, 8)) == {}


def test_what_lies_in_the_padding_does_not_show() -> None:
    """Two images of 64 × 96 and 20 × 36 pixels in one batch; the padding has attention 1, the images 0.25."""
    maps = {}
    for name, stride in (("pam2", 4), ("pam3", 8), ("pam5", 32)):
        weights = torch.full((2, 1, 64 // stride, 96 // stride), 0.25)
        weights[1, :, -(-20 // stride) :] = 1
        weights[1, :, :, -(-36 // stride) :] = 1
        maps[name] = weights
    first, second = attention_views(output(**maps), (64, 96), [(64, 96), (20, 36)], flip=False)
    assert second.strides == {"pam2": 4, "pam3": 8, "pam5": 32}
    assert {name: tuple(m.shape[2:]) for name, m in second.maps.items()} == {
        "pam2": (5, 9),
        "pam3": (3, 5),
        "pam5": (1, 2),
    }
    for one, size in ((first, (64, 96)), (second, (200, 360))):
        for weights in merge_attention([one], size).values():
            torch.testing.assert_close(weights, torch.full(size, 0.25))


def test_a_place_stays_in_its_place() -> None:
    """A cell that stands out in the network's input is found at the same share of the original's width."""
    weights = torch.zeros(1, 1, 16, 24)
    weights[..., 5, 10] = 1  # pixels 20 … 24 by 40 … 44 of 50 × 90
    (one,) = attention_views(output(mam=weights), (64, 96), [(50, 90)], flip=False)
    resized = one.resized("mam", (100, 180))
    y, x = divmod(int(resized.argmax()), 180)
    assert y == pytest.approx(44, abs=2) and x == pytest.approx(84, abs=2)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_becomes_float32(kind: torch.dtype) -> None:
    (one,) = attention_views(output(mam=torch.full((1, 1, 8, 8), 0.5, dtype=kind)), (32, 32), [(32, 32)], flip=False)
    assert one.resized("mam", (5, 7)).dtype == torch.float32
    assert attention_views(output(), (32, 32), [(32, 32)], flip=False)[0].maps == {}
