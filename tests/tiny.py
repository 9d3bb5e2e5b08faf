"""A network small enough to test with, and batches made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from aunet.categories import VOID, Categories, Category
from aunet.config import (
    AttentionConfig,
    AUNetConfig,
    BackboneConfig,
    BackgroundConfig,
    ForegroundConfig,
    RPNConfig,
)
from aunet.structures import Batch, Target

TINY = AUNetConfig(
    backbone=BackboneConfig(name="resnet18", norm="gn", trainable_stages=5, fpn_channels=16),
    rpn=RPNConfig(anchor_sizes=(8, 16, 32, 64, 128), num_samples=16, pre_nms_top_n=(50, 50), post_nms_top_n=(20, 20)),
    foreground=ForegroundConfig(num_samples=16, box_channels=32, mask_convs=1, mask_channels=16),
    background=BackgroundConfig(channels=16, convs=(1, 1, 1, 1)),
    attention=AttentionConfig(channels=8, normalize="coverage"),
)

CATEGORIES = Categories(
    (
        Category(id=3, name="disk", is_thing=True),
        Category(id=5, name="sky", is_thing=False),
        Category(id=9, name="star", is_thing=True),
        Category(id=12, name="grass", is_thing=False),
    )
)


def make_target(size: tuple[int, int], boxes: list[list[int]], image_id: int = 1) -> Target:
    """Rectangular things of alternating categories on stuff whose upper quarter is void."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.uint8)
    semantic = torch.full(size, 1)
    semantic[: size[0] // 4] = VOID
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = 1
        semantic[y1:y2, x1:x2] = 0
    return Target(
        image_id=image_id,
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.arange(len(boxes)) % 2 + 1,
        masks=masks,
        semantic=semantic,
    )


def make_batch(boxes: list[list[list[int]]], size: tuple[int, int] = (64, 96)) -> Batch:
    """One image per list of boxes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (len(boxes), 3, *size), generator=generator, dtype=torch.uint8)
    return Batch(images, [size] * len(boxes), [make_target(size, b, n) for n, b in enumerate(boxes)])


def run_lengths(mask: NDArray[Any]) -> str:
    """COCO's compressed run lengths of a mask, as its JSON files hold them."""
    return cast(bytes, coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"]).decode()


def with_attention(config: AUNetConfig, **changes: object) -> AUNetConfig:
    return replace(config, attention=replace(config.attention, **changes))
