"""RoIAlign on the pyramid and on masks: torchvision's without `aligned`, exact with it."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import project_masks_on_boxes
from torchvision.ops import MultiScaleRoIAlign

from aunet.data.coco_json import read_panoptic_json
from aunet.data.coco_panoptic import decode_panoptic, measure_segments
from aunet.data.sample import MIN_AREA
from aunet.image_sized import InstanceMasks
from aunet.model.levels import LEVELS
from aunet.model.pooling import PyramidPool, cut_masks


def some_boxes(seed: int, count: int) -> torch.Tensor:
    """Boxes for every level, in an image of 512×512."""
    generator = torch.Generator().manual_seed(seed)
    sides = 2 ** (2 + 7 * torch.rand(count, 2, generator=generator))
    corners = torch.rand(count, 2, generator=generator) * (512 - sides).clamp(min=0)
    return torch.cat([corners, corners + sides], 1)


def test_unaligned_it_is_torchvisions_bit_for_bit() -> None:
    features = {name: torch.randn(2, 3, 128 >> n, 128 >> n) for n, name in enumerate((*LEVELS, "pool"))}
    boxes = [some_boxes(0, 30), some_boxes(1, 20)]
    theirs = MultiScaleRoIAlign(list(LEVELS), output_size=7, sampling_ratio=2)(features, boxes, [(512, 512)] * 2)
    assert torch.equal(PyramidPool(7, aligned=False)(features, boxes), theirs)
    assert PyramidPool(7, aligned=True)(features, [boxes[0][:0]] * 2).shape == (0, 3, 7, 7)


def test_unaligned_targets_are_torchvisions() -> None:
    masks, boxes = (torch.rand(3, 512, 512) > 0.5).byte(), some_boxes(2, 9)
    index = torch.arange(9) % 3
    theirs = project_masks_on_boxes(masks, boxes, index, 28)
    assert torch.equal(cut_masks(masks, boxes, index, 28, aligned=False), theirs)


def test_aligned_a_bin_reads_what_is_at_its_centre() -> None:
    """On a map whose value is its own position in pixels, in both directions, away from the borders."""
    centres = {name: (torch.arange(128 >> n) + 0.5) * (4 << n) for n, name in enumerate(LEVELS)}
    features = {
        name: torch.stack([c[None, :].expand(len(c), -1), c[:, None].expand(-1, len(c))])[None]
        for name, c in centres.items()
    }
    boxes = torch.tensor([[100.0, 60.0, 128.0, 95.0], [64.0, 80.0, 300.0, 420.0]])
    pooled = PyramidPool(7, aligned=True)(features, [boxes])
    for box, values in zip(boxes, pooled, strict=True):
        steps = (torch.arange(7) + 0.5) / 7
        torch.testing.assert_close(values[0, 0], box[0] + steps * (box[2] - box[0]), atol=1e-3, rtol=0)
        torch.testing.assert_close(values[1, :, 0], box[1] + steps * (box[3] - box[1]), atol=1e-3, rtol=0)


def true_things(folder: Path, split: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Per image the masks, uint8[n, H, W], and boxes of its things, as training sees them."""
    document = folder / "annotations" / f"panoptic_{split}.json"
    annotations = read_panoptic_json(document.read_bytes(), document.name)
    things = []
    for record in annotations.images:
        ids = decode_panoptic((folder / "annotations" / f"panoptic_{split}" / record.panoptic_name).read_bytes())
        measured = measure_segments(ids)
        own = [s.id for s in record.segments if s.is_thing and not s.is_crowd and measured[s.id][0] >= MIN_AREA]
        boxes = torch.tensor([measured[n][1] for n in own], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        things.append((torch.from_numpy(np.stack([ids == n for n in own]).astype(np.uint8)), boxes)) if own else None
    return things


def oracle(things: list[tuple[torch.Tensor, torch.Tensor]], *, aligned: bool, whole_pixels: bool) -> float:
    """Mean IoU of all things with what is pasted of their perfect targets in their perfect boxes."""
    overlaps = []
    for masks, boxes in things:
        targets = cut_masks(masks, boxes, torch.arange(len(boxes)), 28, aligned=aligned)[:, None]
        size = (masks.shape[1], masks.shape[2])
        pasted = InstanceMasks(targets, boxes, size, whole_pixels=whole_pixels).full()
        both, either = pasted & masks.bool(), pasted | masks.bool()
        overlaps += (both.sum((1, 2)) / either.sum((1, 2))).tolist()
    return mean(overlaps)


@pytest.mark.parametrize(
    ("folder", "split", "least"),
    [
        ("camvid_panoptic", "val", 0.99),
        ("coco_panoptic_mini", "train2017", 0.98),
        ("coco_panoptic_mini", "val2017", 0.98),
    ],
)
def test_perfect_boxes_and_targets_give_perfect_masks(sample_data: Path, folder: str, split: str, least: float) -> None:
    """The most that any mask head of 28×28 cells can reach."""
    things = true_things(sample_data / folder, split)
    exact = oracle(things, aligned=True, whole_pixels=False)
    earlier = oracle(things, aligned=False, whole_pixels=True)
    print(f"{folder} {split}: {exact:.4f}, torchvision's geometry {earlier:.4f}")
    assert exact >= least > earlier
