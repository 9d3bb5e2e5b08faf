"""Assignment of RoIs to FPN levels."""

import pytest
import torch
from torchvision.ops.poolers import LevelMapper

from aunet_ops import assign_levels, roi_upsample, rois_on_level


def test_by_hand():
    sides = torch.tensor([1.0, 111, 112, 223, 224, 447, 448, 4000])
    boxes = torch.stack([torch.zeros(8), torch.zeros(8), sides, sides], 1)
    assert assign_levels(boxes).tolist() == [2, 2, 3, 3, 4, 4, 5, 5]
    rois = torch.cat([torch.zeros(8, 1), boxes], 1)
    assert assign_levels(rois, min_level=3, max_level=4).tolist() == [3, 3, 3, 3, 4, 4, 4, 4]


def test_equals_torchvision():
    corner = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) * 500
    side = torch.rand(500, 2, generator=torch.Generator().manual_seed(1)) * 900 + 1
    boxes = torch.cat([corner, corner + side], 1)
    assert torch.equal(assign_levels(boxes), LevelMapper(2, 5)([boxes]) + 2)


def test_empty_and_broken_boxes_get_a_level():
    nan, inf = float("nan"), float("inf")
    boxes = torch.tensor([[5.0, 5, 5, 9], [9.0, 9, 1, 1], [nan, 0, 1, 1], [0, 0, inf, 1]])
    assert assign_levels(boxes).tolist() == [2, 2, 2, 2]
    assert assign_levels(boxes[:0]).shape == (0,)


def test_rejects_other_shapes():
    with pytest.raises(ValueError, match=r"\[K, 5\] or \[K, 4\], got \[2, 3\]"):
        assign_levels(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="min_level"):
        assign_levels(torch.zeros(2, 4), min_level=5, max_level=2)


def test_all_rois_to_every_level_equals_each_to_its_own():
    rois = torch.tensor([[0.0, 0, 0, 40, 40], [0, 10, 10, 200, 180], [0, 0, 0, 60, 300]])
    masks = torch.randn(3, 2, 14, 14)
    levels = assign_levels(rois)
    assert levels.unique().numel() > 1
    for level in range(2, 6):
        scale, keep = 1 / 2**level, levels == level
        size = (1, 320 >> level, 320 >> level)
        masked = roi_upsample(masks, rois_on_level(rois, levels, level), size, scale)
        assert torch.equal(masked, roi_upsample(masks[keep], rois[keep], size, scale))
