"""From the network's output to predictions: masks at the size of the image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torchvision.models.detection.roi_heads import paste_masks_in_image

from aunet.image_sized import InstanceMasks
from aunet.model import Output, to_predictions
from aunet.model.background import SemanticOutput
from aunet.model.foreground import Instances
from aunet.model.pooling import cut_masks


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
    masks = InstanceMasks(probs, boxes, size, whole_pixels=True)
    assert torch.equal(masks.full(), paste_masks_in_image(probs, boxes, size)[:, 0] > 0.5)


@settings(max_examples=150, deadline=None)
@given(masks_in_boxes())
def test_exact_masks_are_sampled_at_the_centres_of_pixels(
    case: tuple[torch.Tensor, torch.Tensor, tuple[int, int]],
) -> None:
    """By torch's `grid_sample` in float64, which the mask's sides may not differ from except where it is undecided."""
    probs, boxes, (height, width) = case
    x, y = torch.arange(width, dtype=torch.float64) + 0.5, torch.arange(height, dtype=torch.float64) + 0.5
    for prob, box, mask in zip(probs, boxes, InstanceMasks(probs, boxes, (height, width)).full(), strict=True):
        x1, y1, x2, y2 = box.double()
        u, v = ((centres - low) / (high - low) * 2 - 1 for centres, low, high in ((x, x1, x2), (y, y1, y2)))
        grid = torch.stack(torch.meshgrid(u, v, indexing="xy"), -1)
        value = F.grid_sample(prob[None].double(), grid[None], padding_mode="border", align_corners=False)[0, 0]
        inside = ((x >= x1) & (x < x2))[None] & ((y >= y1) & (y < y2))[:, None]
        decided = (value - 0.5).abs() > 1e-3
        assert torch.equal(mask[decided], ((value > 0.5) & inside)[decided])


@pytest.mark.parametrize("whole_pixels", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (3, 200)])
def test_a_full_mask_fills_its_box(size: tuple[int, int], whole_pixels: bool) -> None:
    box = torch.tensor([[0.0, 0.0, size[1], size[0]]])
    masks = InstanceMasks(torch.ones(1, 1, 28, 28), box, size, whole_pixels=whole_pixels).full()
    assert masks.shape == (1, *size) and masks.all()


def test_masks_learned_half_a_pixel_off_are_pasted_where_they_were_learned() -> None:
    """Of a network without `geometry`: half a pixel of its input, which is a whole one at twice the size."""
    truth = torch.zeros(1, 40, 40, dtype=torch.uint8)
    truth[:, 8:30, 10:26] = 1
    boxes, index = torch.tensor([[10.0, 8.0, 26.0, 30.0]]), torch.zeros(1, dtype=torch.int64)
    twice = truth[0].bool().repeat_interleave(2, 0).repeat_interleave(2, 1)
    overlaps = {}
    for geometry in ("exact", "unaligned", "torchvision"):
        probs = cut_masks(truth, boxes, index, 28, aligned=geometry == "exact")[:, None]
        instances = Instances([boxes], [torch.ones(1)], [index + 1], [probs], {}, None)
        semantic = SemanticOutput(torch.zeros(1, 2, 10, 10), {})
        prediction = to_predictions(Output(instances, semantic), (40, 40), [(40, 40)], [(80, 80)], geometry)[0]
        mask = prediction.detections.masks[0]
        overlaps[geometry] = float((mask & twice).sum() / (mask | twice).sum())
        assert torch.equal(prediction.detections.boxes, 2 * boxes)
    assert overlaps["exact"] == 1 and overlaps["unaligned"] > 0.97 and overlaps["torchvision"] < 0.95, overlaps
