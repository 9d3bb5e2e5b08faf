"""The operators ``aunet::roi_upsample`` and ``aunet::roi_upsample_backward`` and all that PyTorch needs of them.

The schemas are defined here and not in C++, so that the operators exist without a binary: a composition of PyTorch
calls serves every device, and the compiled kernels take its place on CPU and CUDA when they are loaded. The two
operators are each other's adjoint, so the gradient of either is the other, any number of times.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from aunet_ops import reference
from aunet_ops.kernels import load_kernels, warn_once_about_composition

_library = torch.library.Library("aunet", "FRAGMENT")
_GEOMETRY = "float spatial_scale, int sampling_ratio=2, bool aligned=True"

# masks [K, C, m, m], rois [K, 5], output_size (N, H, W) -> [N, C, H, W]
_library.define(
    f"roi_upsample(Tensor masks, Tensor rois, SymInt[] output_size, {_GEOMETRY}) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
# grad [N, C, H, W], rois [K, 5], num_bins m -> [K, C, m, m]
_library.define(
    f"roi_upsample_backward(Tensor grad, Tensor rois, SymInt num_bins, {_GEOMETRY}) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def _compose_forward(
    masks: Tensor,
    rois: Tensor,
    output_size: Sequence[int],
    spatial_scale: float,
    sampling_ratio: int = 2,
    aligned: bool = True,
) -> Tensor:
    warn_once_about_composition(masks.device.type)
    num_images, height, width = output_size
    return reference.splat(masks, rois, (num_images, height, width), spatial_scale, sampling_ratio, aligned)


def _compose_backward(
    grad: Tensor, rois: Tensor, num_bins: int, spatial_scale: float, sampling_ratio: int = 2, aligned: bool = True
) -> Tensor:
    warn_once_about_composition(grad.device.type)
    return reference.splat_adjoint(grad, rois, num_bins, spatial_scale, sampling_ratio, aligned)


_library.impl("roi_upsample", _compose_forward, "CompositeExplicitAutograd")
_library.impl("roi_upsample_backward", _compose_backward, "CompositeExplicitAutograd")


@torch.library.register_fake("aunet::roi_upsample", lib=_library)
def _fake_forward(masks: Tensor, rois: Tensor, output_size: Sequence[int], *geometry: Any) -> Tensor:
    num_images, height, width = output_size
    return masks.new_empty((num_images, masks.shape[1], height, width))


@torch.library.register_fake("aunet::roi_upsample_backward", lib=_library)
def _fake_backward(grad: Tensor, rois: Tensor, num_bins: int, *geometry: Any) -> Tensor:
    return grad.new_empty((rois.shape[0], grad.shape[1], num_bins, num_bins))


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    masks, rois, _, *geometry = inputs
    ctx.save_for_backward(rois)
    ctx.num_bins, ctx.geometry = masks.shape[-1], geometry


def _differentiate_forward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (rois,) = ctx.saved_tensors
    masks_grad = torch.ops.aunet.roi_upsample_backward(grad, rois, ctx.num_bins, *ctx.geometry)
    return masks_grad, None, None, None, None, None


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad, rois, _, *geometry = inputs
    ctx.save_for_backward(rois)
    num_images, _, height, width = grad.shape
    ctx.output_size, ctx.geometry = (num_images, height, width), geometry


def _differentiate_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (rois,) = ctx.saved_tensors
    return torch.ops.aunet.roi_upsample(grad, rois, ctx.output_size, *ctx.geometry), None, None, None, None, None


torch.library.register_autograd(
    "aunet::roi_upsample", _differentiate_forward, setup_context=_save_forward, lib=_library
)
torch.library.register_autograd(
    "aunet::roi_upsample_backward", _differentiate_backward, setup_context=_save_backward, lib=_library
)

# Under autocast sums stay in float32: 57 overlapping tiny RoIs would overflow float16.
for _name in ("aunet::roi_upsample", "aunet::roi_upsample_backward"):
    for _device in ("cpu", "cuda"):
        torch.library.register_autocast(_name, _device, torch.float32, lib=_library)


def _fold_images(rois: Tensor, num_images: int) -> Tensor:
    """``Tensor[B, K, 5]`` with image indices per batch entry -> ``Tensor[B * K, 5]`` into B * N images."""
    num_batches = rois.shape[0]
    index = rois[..., 0]
    shift = torch.arange(num_batches, device=rois.device, dtype=rois.dtype)[:, None] * num_images
    index = torch.where(index < num_images, torch.where(index >= 0, index + shift, index), num_batches * num_images)
    return torch.cat([index[..., None], rois[..., 1:]], -1).flatten(0, 1)


def _batched(value: Tensor, dim: int | None, size: int) -> Tensor:
    return value.expand(size, *value.shape) if dim is None else value.movedim(dim, 0)


def _vmap_forward(
    info: Any, in_dims: tuple[int | None, ...], masks: Tensor, rois: Tensor, output_size: Sequence[int], *geometry: Any
) -> tuple[Tensor, int]:
    masks = _batched(masks, in_dims[0], info.batch_size)  # [B, K, C, m, m]
    if in_dims[1] is None:  # batch entries are channels
        out = torch.ops.aunet.roi_upsample(masks.movedim(0, 1).flatten(1, 2), rois, output_size, *geometry)
        return out.unflatten(1, (masks.shape[0], masks.shape[2])), 1
    num_images, height, width = output_size
    rois = _fold_images(rois.movedim(in_dims[1], 0), num_images)
    folded = (info.batch_size * num_images, height, width)
    out = torch.ops.aunet.roi_upsample(masks.flatten(0, 1), rois, folded, *geometry)
    return out.unflatten(0, (info.batch_size, num_images)), 0


def _vmap_backward(
    info: Any, in_dims: tuple[int | None, ...], grad: Tensor, rois: Tensor, num_bins: int, *geometry: Any
) -> tuple[Tensor, int]:
    grad = _batched(grad, in_dims[0], info.batch_size)  # [B, N, C, H, W]
    if in_dims[1] is None:
        out = torch.ops.aunet.roi_upsample_backward(grad.movedim(0, 1).flatten(1, 2), rois, num_bins, *geometry)
        return out.unflatten(1, (grad.shape[0], grad.shape[2])), 1
    rois = rois.movedim(in_dims[1], 0)
    folded = _fold_images(rois, grad.shape[1])
    out = torch.ops.aunet.roi_upsample_backward(grad.flatten(0, 1), folded, num_bins, *geometry)
    return out.unflatten(0, (info.batch_size, rois.shape[1])), 0


torch.library.register_vmap("aunet::roi_upsample", _vmap_forward, lib=_library)
torch.library.register_vmap("aunet::roi_upsample_backward", _vmap_backward, lib=_library)

load_kernels()
