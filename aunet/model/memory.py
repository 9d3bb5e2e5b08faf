"""What a training pass of a network needs: bytes at its peak and operations, found without doing it.

The pass runs on tensors that have a shape, a number format and an owner, but no memory (torch's fake tensors): forward,
losses and backward call the modules of the network on inputs of the sizes that they have in training, and every tensor
counts from its creation until nobody holds it. What depends on the content of images is assumed: as many anchors, RoIs
and positive RoIs are sampled as the settings allow, and the RoIs lie evenly on the four levels.

Not counted: the scratch memory of convolutions, and what an allocator keeps or loses between tensors.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import box_iou, roi_align

from aunet.categories import Categories
from aunet.config import AUNetConfig
from aunet.losses import semantic_loss
from aunet.model.aunet import AUNet, stack_semantic
from aunet.model.build import build_model
from aunet.model.costs import DEFORMABLE
from aunet.model.levels import LEVELS
from aunet.model.pooling import SAMPLES, PyramidPool, cut_masks
from aunet.structures import Target

HEAP_LIMIT = 32 * 2**20
"""Bytes above which glibc always maps memory of its own for an allocation, and gives all of it back."""


@dataclass(frozen=True, slots=True)
class TrainingCosts:
    """Costs of one forward and backward pass over some images."""

    weights: int
    """Bytes of parameters and buffers."""
    trained: int
    """Bytes of the parameters that are trained, and so of their gradients."""
    peak: int
    """The most bytes held besides the weights: images, targets, activations, gradients."""
    heap: int
    """The most bytes held in tensors of up to `HEAP_LIMIT`."""
    flops: int
    """Operations forward and backward, of all images; counted as in `costs`."""


@lru_cache(maxsize=16)
def training_costs(
    config: AUNetConfig,
    categories: Categories,
    size: tuple[int, int],
    images: int,
    things: int,
    precision: torch.dtype | None = None,
    *,
    keep_gradients: bool = True,
) -> TrainingCosts:
    """Count for one pass.

    Args:
        size: (height, width) of the padded images, multiples of 32.
        images: in the pass.
        things: in each image; at least 1.
        precision: number format of autocast; None: float32 throughout.
        keep_gradients: False where each weight's gradient moves, once it is complete, to memory that exists already.
    """
    with FakeTensorMode():
        model = build_model(config, categories, load_weights=False).train()
        weights = sum(t.nbytes for t in (*model.parameters(), *model.buffers()))
        trained = [p for p in model.parameters() if p.requires_grad]
        if not keep_gradients:
            for parameter in trained:
                parameter.register_post_accumulate_grad_hook(_drop_gradient)
        with FlopCounterMode(display=False, custom_mapping=DEFORMABLE) as counter, LiveBytes() as live:
            with torch.autocast("cpu", precision, enabled=precision is not None):
                loss = _losses(model, config, size, images, things)
            loss.backward()
    return TrainingCosts(weights, sum(p.nbytes for p in trained), live.peak, live.heap_peak, counter.get_total_flops())


def _drop_gradient(parameter: Tensor) -> None:
    parameter.grad = None


class LiveBytes(TorchDispatchMode):
    """Adds up the bytes of tensors that were created inside and are still held."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self.heap_peak = self.now = self._heap_now = 0
        self._held: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_storage_id(value) for value in tree_leaves((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and (key := _storage_id(tensor)) not in given | self._held:
                storage = tensor.untyped_storage()
                self._held.add(key)
                self._add(storage.nbytes())
                weakref.finalize(storage, self._release, key, storage.nbytes())
        return result

    def _add(self, size: int) -> None:
        self.now += size
        self._heap_now += size if abs(size) <= HEAP_LIMIT else 0
        self.peak, self.heap_peak = max(self.peak, self.now), max(self.heap_peak, self._heap_now)

    def _release(self, key: int, size: int) -> None:
        self._held.discard(key)
        self._add(-size)


def _storage_id(value: Any) -> int:
    return value.untyped_storage()._cdata if isinstance(value, Tensor) else 0


def _losses(model: AUNet, config: AUNetConfig, size: tuple[int, int], images: int, things: int) -> Tensor:
    """The sum of the four losses on a batch made of nothing, the way of `AUNet.forward`."""
    pictures = torch.empty(images, 3, *size, dtype=torch.uint8)
    sizes = [size] * images
    targets = [_target(size, things) for _ in range(images)]
    normalized = model.normalize(pictures)
    features: dict[str, Tensor] = model.backbone(normalized)
    proposal_loss, hidden = _propose(model, config, ImageList(normalized, sizes), features, targets)
    num_rois = images * config.foreground.num_samples
    positive = images * max(1, int(config.foreground.num_samples * config.foreground.positive_fraction))
    heads = model.foreground
    logits, regression = heads.classify(_pool(heads.box_roi_pool, features, num_rois))
    labels = torch.empty(num_rois, dtype=torch.int64)
    class_loss = torch.nn.functional.cross_entropy(logits, labels)
    masks, mask_logits = heads.segment(_pool(heads.mask_roi_pool, features, positive))
    truth = torch.cat([_cut(target, positive // images, mask_logits.shape[-1]) for target in targets])
    mask_loss = torch.nn.functional.binary_cross_entropy_with_logits(mask_logits[:, 0], truth)
    boxes = [torch.empty(positive // images, 4) for _ in range(images)]
    semantic = model.label(normalized, features, hidden, masks, boxes)
    maps = stack_semantic(targets, size)
    seg_loss = semantic_loss(semantic.logits, maps, model.hard_pixels)
    return proposal_loss + class_loss + regression.sum() + mask_loss + seg_loss


def _target(size: tuple[int, int], things: int) -> Target:
    return Target(
        image_id=0,
        boxes=torch.empty(things, 4),
        labels=torch.empty(things, dtype=torch.int64),
        masks=torch.empty(things, *size, dtype=torch.uint8),
        semantic=torch.empty(size, dtype=torch.int64),
    )


def _propose(
    model: AUNet, config: AUNetConfig, images: ImageList, features: dict[str, Tensor], targets: list[Target]
) -> tuple[Tensor, list[Tensor]]:
    """The RPN's loss, and its features."""
    rpn = model.rpn
    hidden, objectness, deltas = rpn.head(list(features.values()))
    anchors = rpn.anchor_generator(images, objectness)
    scores, regression = concat_box_prediction_layers(objectness, deltas)
    decoded = rpn.box_coder.decode(regression.detach(), anchors)
    matched = [box_iou(target["boxes"], own).max(0) for target, own in zip(targets, anchors, strict=True)]
    encoded = [rpn.box_coder.encode_single(own, own) for own in anchors]
    sampled = torch.empty(len(anchors) * config.rpn.num_samples, dtype=torch.int64)
    del decoded, matched, encoded
    return scores[sampled].sum() + regression[sampled].sum(), hidden


def _pool(pool: PyramidPool, features: dict[str, Tensor], num_rois: int) -> Tensor:
    """RoI features, `Tensor[num_rois, C, s, s]`, gathered level by level as `PyramidPool` does it."""
    pooled = torch.zeros(num_rois, features["0"].shape[1], pool.size, pool.size, dtype=features["0"].dtype)
    for number, level in enumerate(LEVELS):
        share = (num_rois * (number + 1)) // len(LEVELS) - (num_rois * number) // len(LEVELS)
        index, rois = torch.empty(share, dtype=torch.int64), torch.empty(share, 5, dtype=pooled.dtype)
        read = roi_align(features[level], rois, pool.size, 0.25, SAMPLES)
        pooled.index_copy_(0, index, read.to(pooled.dtype))
    return pooled


def _cut(target: Target, num_rois: int, side: int) -> Tensor:
    """The masks of an image at its positive RoIs."""
    index = torch.empty(num_rois, dtype=torch.int64)
    return cut_masks(target["masks"], torch.empty(num_rois, 4), index, side, aligned=True)
