"""What a network costs before it is built: parameters and floating-point operations, counted on the meta device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from aunet.categories import Categories
from aunet.config import AUNetConfig
from aunet.model.aunet import AUNet
from aunet.model.build import build_model
from aunet.model.foreground import ForegroundBranch
from aunet.model.initialization import described
from aunet.model.levels import LEVELS

NUM_PROPOSALS, NUM_DETECTIONS = 1000, 100
"""RoIs of the box head and of the mask head. They depend on the image; these are the most that Mask R-CNN uses."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of one network in inference."""

    parameters: dict[str, int]
    """Per child of the network, frozen ones included."""
    trainable: int
    """Parameters that are trained."""
    flops: dict[str, int]
    """Per child, for one image. A multiplication and an addition count as two. Not counted: normalisation, activations,
    interpolation, anchors, NMS, RoIAlign, RoIUpsample and fusion."""


def costs(config: AUNetConfig, categories: Categories, size: tuple[int, int]) -> Costs:
    """Count for one image of `size` (height, width), a multiple of 32, with 1000 proposals and 100 detections."""
    with described():
        model = build_model(config, categories, load_weights=False).eval()
        parameters = {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        return Costs(parameters, trainable, _flops(model, size))


@torch.no_grad()
def _flops(model: AUNet, size: tuple[int, int]) -> dict[str, int]:
    """Call each child on inputs of the shapes it has in the network; run inside `described`."""
    counted: dict[str, int] = {}

    def count(name: str, module: Callable[..., Any], *inputs: Any) -> Any:
        with FlopCounterMode(display=False, custom_mapping=DEFORMABLE) as counter:
            result = module(*inputs)
        counted[name] = counted.get(name, 0) + counter.get_total_flops()
        return result

    images = torch.zeros(1, 3, *size)
    features = count("backbone", model.backbone, images)
    hidden, _, _ = count("rpn", model.rpn.head, list(features.values()))
    channels, heads = features["0"].shape[1], model.foreground
    pooled = torch.zeros(NUM_PROPOSALS, channels, *[heads.box_roi_pool.size] * 2)
    count("foreground", _box_head(heads), pooled)
    pooled = torch.zeros(NUM_DETECTIONS, channels, *[heads.mask_roi_pool.size] * 2)
    mask_features = count("foreground", heads.mask_head, pooled)
    count("foreground", heads.mask_predictor, mask_features)
    if model.background_backbone is not None:
        features = count("background_backbone", model.background_backbone, images)
    masks = torch.zeros(NUM_DETECTIONS, mask_features.shape[1], model.mask_size, model.mask_size)
    levels, hidden = [features[level] for level in LEVELS], hidden[: len(LEVELS)]
    count("background", model.background, levels, hidden, masks, torch.zeros(NUM_DETECTIONS, 5))
    return counted


def _box_head(heads: ForegroundBranch) -> nn.Module:
    return nn.Sequential(heads.box_head, heads.box_predictor)


def _deform_flops(x: Any, weight: Any, *_: Any, out_shape: Any, **__: Any) -> int:
    """Those of a plain convolution; interpolation is not counted."""
    return 2 * torch.Size(out_shape).numel() * torch.Size(weight[1:]).numel()


DEFORMABLE: Any = {torch.ops.torchvision.deform_conv2d: _deform_flops}
"""The operator that torch's counter does not know."""
