"""Masks and logits in portions are those that were made at once."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.detection.roi_heads import paste_masks_in_image

from aunet.fusion import best_labels
from aunet.image_sized import CHANNELS_TOGETHER, InstanceMasks, SemanticLogits

INPUT, IMAGE, SIZE = (96, 128), (90, 128), (203, 301)


def network_logits(channels: int, layout: torch.memory_format) -> torch.Tensor:
    drawn = torch.randn(1, channels, 24, 32, generator=torch.Generator().manual_seed(channels))
    return drawn.contiguous(memory_format=layout)


def at_once(coarse: torch.Tensor) -> torch.Tensor:
    """What was done before: all channels, twice."""
    padded = F.interpolate(coarse, size=INPUT, mode="bilinear", align_corners=False)
    return F.interpolate(padded[:, :, : IMAGE[0], : IMAGE[1]], size=SIZE, mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("channels", [3, 11, 54])
def test_logits_in_groups_are_those_of_all_at_once(channels: int, layout: torch.memory_format) -> None:
    coarse = network_logits(channels, layout)
    logits, expected = SemanticLogits(coarse, INPUT, IMAGE, SIZE), at_once(coarse)
    pixels = SIZE[0] * SIZE[1]
    assert logits.shape == tuple(expected.shape)
    assert torch.equal(logits.full(), expected)
    grouped = list(logits.groups(4 * pixels * CHANNELS_TOGETHER))
    assert max(map(len, grouped)) <= CHANNELS_TOGETHER and torch.equal(torch.cat(grouped), expected)
    single = list(logits.groups(1))
    assert [len(group) for group in single] == [1] * channels
    torch.testing.assert_close(torch.cat(single), expected, atol=1e-5, rtol=0)


def test_mirrored_logits_are_those_of_the_mirrored_image() -> None:
    logits = SemanticLogits(network_logits(5, torch.channels_last), INPUT, IMAGE, SIZE)
    assert torch.equal(logits.mirror().full(), logits.full().flip(-1))
    assert torch.equal(logits.mirror().mirror().full(), logits.full())


@pytest.mark.parametrize("group_bytes", [1, 2**30])
def test_the_best_labels_do_not_depend_on_the_groups(group_bytes: int) -> None:
    logits = SemanticLogits(network_logits(21, torch.contiguous_format), INPUT, IMAGE, SIZE)
    labels = best_labels(logits, group_bytes)
    assert (labels == logits.full().argmax(0).numpy()).all()


def some_masks(count: int = 5, *, whole_pixels: bool = False) -> InstanceMasks:
    generator = torch.Generator().manual_seed(count)
    corners = torch.rand(count, 2, 2, generator=generator)
    boxes = torch.cat([corners.min(1).values, corners.max(1).values], 1) * torch.tensor([SIZE[1], SIZE[0]] * 2)
    return InstanceMasks(torch.rand(count, 1, 28, 28, generator=generator), boxes, SIZE, whole_pixels=whole_pixels)


@pytest.mark.parametrize("whole_pixels", [False, True])
def test_masks_are_selected_joined_and_mirrored_as_whole_ones(whole_pixels: bool) -> None:
    masks, order = some_masks(whole_pixels=whole_pixels), torch.tensor([3, 0, 4])
    whole = masks.full()
    if whole_pixels:
        assert torch.equal(whole, paste_masks_in_image(masks.probs, masks.boxes, SIZE)[:, 0] > 0.5)
    assert torch.equal(masks.select(order).full(), whole[order])
    assert torch.equal(masks.mirror().full(), whole.flip(-1))
    joined = InstanceMasks.join([masks, masks.mirror()])
    assert torch.equal(joined.select(torch.tensor([1, 6])).full(), torch.stack([whole[1], whole[1].flip(-1)]))


def test_a_window_holds_all_of_its_mask() -> None:
    masks = some_masks().mirror()
    for index, mask in enumerate(masks.full()):
        rows, columns, content = masks.window(index)
        assert torch.equal(mask[rows, columns], content) and int(content.sum()) == int(mask.sum())


def test_no_masks() -> None:
    none = InstanceMasks(torch.zeros(0, 1, 28, 28), torch.zeros(0, 4), SIZE)
    assert none.full().shape == (0, *SIZE) and len(InstanceMasks.join([none, none])) == 0
