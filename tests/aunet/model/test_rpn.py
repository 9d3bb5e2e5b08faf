"""Anchors lie where they should, whatever the network computes in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList

from aunet.config import RPNConfig
from aunet.model.rpn import build_rpn

SIZE = 800, 1344


def anchors_at(dtype: torch.dtype) -> Tensor:
    """Those that the RPN takes for an image of `SIZE`, whose features are numbers of one format."""
    rpn = build_rpn(RPNConfig(pre_nms_top_n=(10, 10), post_nms_top_n=(10, 10)), channels=4, norm=None).eval()
    features = {
        str(level): torch.zeros(1, 4, SIZE[0] // stride, SIZE[1] // stride, dtype=dtype)
        for level, stride in enumerate((4, 8, 16, 32, 64))
    }
    seen: list[Any] = []
    rpn.anchor_generator.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        rpn(ImageList(torch.zeros(1, 3, *SIZE), [SIZE]), features)
    ((anchors,),) = seen
    return anchors


def test_anchors_are_not_rounded() -> None:
    """bf16 has whole numbers up to 256 only; from there on anchors would be off by up to 7 pixels."""
    exact, mixed = anchors_at(torch.float32), anchors_at(torch.bfloat16)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, exact)
    assert exact[:, 2].max() > 1344 and exact.unique(dim=0).shape == exact.shape
