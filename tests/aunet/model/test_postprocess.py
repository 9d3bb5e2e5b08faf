"""From the network's output to predictions: masks at the size of the image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torchvision.models.detection.roi_heads import paste_masks_in_image

from aunet.image_sized import InstanceMasks


@st.composite
def masks_in_boxes(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int]]:
    """Masks with boxes of any size inside the image, thin ones and those of the whole image among them."""
    height, width, count = draw(st.integers(1, 60)), draw(st.integers(1, 60)), draw(st.integers(0, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    corners = torch.rand(count, 2, 2, generator=generator) ** draw(st.sampled_from([0.1, 1.0, 5.0]))
    boxes = torch.cat([corners.min(1).values, corners.max(1).values], 1) * torch.tensor([width, height] * 2)
    if count and draw(st.booleans()):
        boxes[0] = torch.tensor([0, 0, width, height])
    return torch.rand(count, 1, 28, 28, generator=generator), boxes, (height, width)


@settings(max_examples=150, deadline=None)
@given(masks_in_boxes())
def test_masks_are_those_of_torchvision(case: tuple[torch.Tensor, torch.Tensor, tuple[int, int]]) -> None:
    probs, boxes, size = case
    assert torch.equal(InstanceMasks(probs, boxes, size).full(), paste_masks_in_image(probs, boxes, size)[:, 0] > 0.5)


@pytest.mark.parametrize("size", [(1, 1), (3, 200)])
def test_a_full_mask_fills_its_box(size: tuple[int, int]) -> None:
    masks = InstanceMasks(torch.ones(1, 1, 28, 28), torch.tensor([[0.0, 0.0, size[1], size[0]]]), size).full()
    assert masks.shape == (1, *size) and masks.all()
