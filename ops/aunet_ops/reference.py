"""RoIUpsample in plain PyTorch: the readable twin of the C++ and CUDA kernels, their oracle and their fallback.

Shape letters: K RoIs, C channels, m bins per side, s = sampling_ratio points per bin and axis, N images,
H x W the map. Equations 5 and 6 of the paper are separable, so the whole operator is two matrix products:

    out[n] = sum over the RoIs k of image n of  Ay[k]^T  masks[k]  Ax[k]

where ``Ax[k, j, u]`` says how much of bin j is written on column u, and ``Ay`` the same for rows.
"""

import torch
from torch import Tensor

# Elements of the largest temporary: RoIs are processed in chunks so that memory stays bounded (64 MiB in float32).
_CHUNK_ELEMENTS = 1 << 24


def axis_table(start: Tensor, length: Tensor, num_bins: int, size: int, sampling_ratio: int) -> Tensor:
    """One axis of Eq. 5: the weight with which each bin is written on each pixel.

    The grid points of a RoI are spread evenly over it, ``sampling_ratio`` in each bin. A point at distance f behind
    pixel floor(x) is written there with weight (1 - f) / v and on the next pixel with weight f / v, where
    v = f^2 + (1 - f)^2 (Eq. 6). Each carries 1 / sampling_ratio of the bin: the two axes make it the paper's quarter.
    Border as in RoIAlign: points up to one pixel outside move to the border, points farther outside are dropped.

    Args:
        start: ``Tensor[K]``, first edge of each RoI in pixels of the map.
        length: ``Tensor[K]``, extent of each RoI in pixels of the map.
        num_bins: m.
        size: pixels on this axis, at least 1.
        sampling_ratio: grid points per bin.

    Returns:
        ``Tensor[K, m, size]`` in the dtype of ``start``.
    """
    num_points = num_bins * sampling_ratio
    point = torch.arange(num_points, device=start.device, dtype=start.dtype) + 0.5
    x = start[:, None] + point * (length / num_points)[:, None]
    kept = (x >= -1) & (x <= size)
    x = x.clamp(0, size - 1)
    low = x.floor()
    f = x - low
    value = f * f + (1 - f) * (1 - f)
    share = kept / (value * sampling_ratio)
    low = low.to(torch.int64)
    high = (low + 1).clamp(max=size - 1)
    table = x.new_zeros(*x.shape, size)
    table.scatter_add_(2, low[..., None], ((1 - f) * share)[..., None])
    table.scatter_add_(2, high[..., None], (f * share)[..., None])
    return table.unflatten(1, (num_bins, sampling_ratio)).sum(2)


def roi_extent(rois: Tensor, spatial_scale: float, aligned: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Where each RoI is on the map, in float64 (float32 on devices that lack it).

    Returns:
        ``(x, y, width, height, active)``, each ``Tensor[K]``. Not active, with zero extent at zero: RoIs with a
        negative image index, a NaN or infinite number, or (with ``aligned``) no area. Without ``aligned`` a RoI has
        at least one pixel on either side, as in the first RoIAlign.
    """
    wide = rois.to(torch.float32 if rois.device.type == "mps" else torch.float64)
    offset = 0.5 if aligned else 0.0
    start = wide[:, 1:3] * spatial_scale - offset
    length = wide[:, 3:5] * spatial_scale - offset - start
    if not aligned:
        length = torch.where(length < 1, torch.ones_like(length), length)
    finite = torch.isfinite(start).all(1) & torch.isfinite(length).all(1)
    active = (wide[:, 0] >= 0) & finite & (length > 0).all(1)
    start = torch.where(active[:, None], start, torch.zeros_like(start))
    length = torch.where(active[:, None], length, torch.zeros_like(length))
    return start[:, 0], start[:, 1], length[:, 0], length[:, 1], active


def splat(
    masks: Tensor,
    rois: Tensor,
    output_size: tuple[int, int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """The operator without ``normalize``: ``Tensor[K, C, m, m]``, ``Tensor[K, 5]`` -> ``Tensor[N, C, H, W]``.

    Differentiable with respect to ``masks`` any number of times. Sums in float32, or float64 for float64 masks.
    """
    num_images, height, width = output_size
    num_rois, channels, m, _ = masks.shape
    dtype = torch.float64 if masks.dtype == torch.float64 else torch.float32
    out = masks.new_zeros((num_images, channels, height, width), dtype=dtype)
    if num_rois == 0 or m == 0 or out.numel() == 0:
        return (out + 0 * masks.sum()).to(masks.dtype) if masks.requires_grad else out.to(masks.dtype)
    _check_image_index(rois, num_images)
    chunk = max(1, _CHUNK_ELEMENTS // max(channels * height * width, m * sampling_ratio * max(height, width)))
    for k in range(0, num_rois, chunk):
        chunk_rois = rois[k : k + chunk]
        x, y, roi_width, roi_height, active = roi_extent(chunk_rois, spatial_scale, aligned)
        table_x = axis_table(x, roi_width, m, width, sampling_ratio).to(dtype)
        table_y = axis_table(y, roi_height, m, height, sampling_ratio).to(dtype)
        values = torch.where(active[:, None, None, None], masks[k : k + chunk].to(dtype), 0)
        rows = values @ table_x[:, None]  # [k, C, m, W]
        written = table_y[:, None].transpose(2, 3) @ rows  # [k, C, H, W]
        image = torch.arange(num_images, device=rois.device)
        owner = (chunk_rois[:, :1].to(torch.int64) == image) & active[:, None]  # [k, N]
        out = out + (owner.to(dtype).T @ written.flatten(1)).view_as(out)
    return out.to(masks.dtype)


def splat_adjoint(
    grad: Tensor, rois: Tensor, num_bins: int, spatial_scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    """The exact adjoint of :func:`splat`: ``Tensor[N, C, H, W]``, ``Tensor[K, 5]`` -> ``Tensor[K, C, m, m]``.

    ``masks_grad[k] = Ay[k] grad[n] Ax[k]^T``; inactive RoIs get zeros.
    """
    num_images, channels, height, width = grad.shape
    num_rois, m = rois.shape[0], num_bins
    if num_rois == 0 or m == 0 or grad.numel() == 0:
        return grad.new_zeros((num_rois, channels, m, m))
    _check_image_index(rois, num_images)
    wide = grad if grad.dtype == torch.float64 else grad.float()
    chunks = []
    chunk = max(1, _CHUNK_ELEMENTS // max(channels * height * width, m * sampling_ratio * max(height, width)))
    for k in range(0, num_rois, chunk):
        chunk_rois = rois[k : k + chunk]
        x, y, roi_width, roi_height, active = roi_extent(chunk_rois, spatial_scale, aligned)
        active = active & (chunk_rois[:, 0] < num_images)
        table_x = axis_table(x, roi_width, m, width, sampling_ratio).to(wide.dtype)
        table_y = axis_table(y, roi_height, m, height, sampling_ratio).to(wide.dtype)
        image = torch.where(active, chunk_rois[:, 0], torch.zeros_like(chunk_rois[:, 0])).to(torch.int64)
        rows = table_y[:, None] @ wide[image]  # [k, C, m, W]
        bins = rows @ table_x[:, None].transpose(2, 3)  # [k, C, m, m]
        chunks.append(torch.where(active[:, None, None, None], bins, 0).to(grad.dtype))
    return torch.cat(chunks)


def _check_image_index(rois: Tensor, num_images: int) -> None:
    """On CPU only: elsewhere the check would wait for the device, and such RoIs are skipped."""
    if rois.device.type != "cpu":
        return
    wrong = (rois[:, 0] >= num_images).nonzero()
    if len(wrong):
        k = int(wrong[0])
        raise RuntimeError(f"rois[{k}] has image index {rois[k, 0].item():g}, expected below N = {num_images}")


def roi_upsample(
    masks: Tensor,
    rois: Tensor,
    output_size: tuple[int, int, int],
    spatial_scale: float,
    sampling_ratio: int = 2,
    aligned: bool = True,
    normalize: str | None = None,
) -> Tensor:
    """RoIUpsample (Eq. 5 and 6) in plain PyTorch; see :func:`aunet_ops.roi_upsample` for the full contract.

    It differs from the kernels in three ways only: it is slow, a non-finite value in an active mask spreads over the
    whole map of its image, and rounding differs in the last bits.

    Args:
        masks: ``Tensor[K, C, m, m]``, any floating dtype.
        rois: ``Tensor[K, 5]`` of (image index, x1, y1, x2, y2), float32 or float64.
        output_size: (N, H, W) of the result.
        spatial_scale: cells of the map per unit of the RoIs, e.g. 1/4 on FPN's P2.
        sampling_ratio: grid points per bin and axis.
        aligned: half-pixel geometry (True) or that of the first RoIAlign (False).
        normalize: None, or "coverage" to divide by the same operation on masks of ones.

    Returns:
        ``Tensor[N, C, H, W]`` in the dtype of ``masks``.
    """
    if normalize is None:
        return splat(masks, rois, output_size, spatial_scale, sampling_ratio, aligned)
    if normalize != "coverage":
        raise ValueError(f'normalize must be None or "coverage", got {normalize!r}')
    wide = masks if masks.dtype == torch.float64 else masks.float()
    ones = torch.ones_like(wide[:, :1]).detach()
    total = splat(wide, rois, output_size, spatial_scale, sampling_ratio, aligned)
    coverage = splat(ones, rois, output_size, spatial_scale, sampling_ratio, aligned)
    return torch.where(coverage > 0, total / coverage.clamp(min=torch.finfo(wide.dtype).tiny), 0).to(masks.dtype)
