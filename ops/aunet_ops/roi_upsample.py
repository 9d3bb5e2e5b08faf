"""RoIUpsample (paper section 3.3.2, Eq. 5 and 6): the function and the module."""

import torch
from torch import Tensor, nn

import aunet_ops.registration  # noqa: F401  defines torch.ops.aunet

_MASK_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_ROI_DTYPES = (torch.float64, torch.float32)


def roi_upsample(
    masks: Tensor,
    rois: Tensor,
    output_size: tuple[int, int, int],
    spatial_scale: float,
    sampling_ratio: int = 2,
    aligned: bool = True,
    normalize: str | None = None,
) -> Tensor:
    """Write the m x m masks of K RoIs back into H x W maps by inverse bilinear interpolation (Eq. 5 and 6).

    The inverse of RoIAlign: each bin is split over ``sampling_ratio**2`` regularly spaced grid points, each of which
    carries one quarter (``1 / sampling_ratio**2``) of the bin. A point at distance (x, y) behind its upper left pixel
    is written to four pixels with the weights ``(1 - x)(1 - y)``, ``x (1 - y)``, ``(1 - x) y``, ``x y``, each over
    ``(x**2 + (1 - x)**2) (y**2 + (1 - y)**2)``. Contributions are summed over points and RoIs; vacant pixels are 0.

    Args:
        masks: ``Tensor[K, C, m, m]``, one mask (or C features) per RoI; float64, float32, float16 or bfloat16.
            Sums are computed in float32 at least and rounded once.
        rois: ``Tensor[K, 5]`` of (image index, x1, y1, x2, y2), float32 or float64 whatever the masks are: bfloat16
            coordinates would shift boxes by pixels. RoIs with a negative index are inactive: they contribute nothing,
            so every FPN level can be given all K RoIs with static shapes. So do RoIs without area, with NaN or infinite
            numbers, and those outside the map. An index of N or more is an error on CPU and skipped on CUDA.
        output_size: (N, H, W): images in the batch, height and width of the maps.
        spatial_scale: cells of the map per unit of the RoIs, e.g. 1/4 on FPN's P2.
        sampling_ratio: grid points per bin and axis, 2 in the paper ("four regularly sampled locations").
        aligned: True for half-pixel geometry, which matches today's box convention; False for that of the first
            RoIAlign (no offset, RoIs at least one cell wide and high).
        normalize: None as in the paper, or "coverage" to divide by the same operation on masks of ones (see below).

    Returns:
        ``Tensor[N, C, H, W]`` in the dtype of ``masks``; under autocast in float32, unless it is normalised.
        Differentiable with respect to ``masks``, any number of times; the gradient is the exact adjoint. RoIs get no
        gradient, as in RoIAlign.

    Raises:
        ValueError: if a shape or an option is wrong.
        TypeError: if a dtype is wrong.
        RuntimeError: on CPU, if an image index is N or more.

    The paper remarks that forward bilinear interpolation reverts the map to the mask. That holds exactly if and only
    if no two grid points share a pixel with non-zero weights; a spacing of side / (sampling_ratio m) >= 2 cells always
    suffices. What then returns the mask is ``sampling_ratio**2 * roi_align(...)``, since RoIAlign averages. At the
    levels FPN assigns (14 to 28 cells: spacing 0.25 to 1) points share pixels and sum: a constant mask is written as
    0.6 to 9.9 times its value. ``normalize="coverage"`` restores a constant mask wherever anything was written.
    """
    _check(masks, rois, output_size, sampling_ratio, normalize)
    num_images, height, width = output_size
    size = [num_images, height, width]
    if normalize is None:
        return torch.ops.aunet.roi_upsample(masks, rois, size, spatial_scale, sampling_ratio, aligned)
    wide = masks if masks.dtype == torch.float64 else masks.float()
    total = torch.ops.aunet.roi_upsample(wide, rois, size, spatial_scale, sampling_ratio, aligned)
    ones = wide.new_ones((masks.shape[0], 1, masks.shape[2], masks.shape[3]))
    coverage = torch.ops.aunet.roi_upsample(ones, rois, size, spatial_scale, sampling_ratio, aligned)
    return torch.where(coverage > 0, total / torch.where(coverage > 0, coverage, 1), 0).to(masks.dtype)


def _check(
    masks: Tensor, rois: Tensor, output_size: tuple[int, int, int], sampling_ratio: int, normalize: str | None
) -> None:
    if masks.dim() != 4 or masks.shape[2] != masks.shape[3]:
        raise ValueError(f"masks must have shape [K, C, m, m], got {list(masks.shape)}")
    if rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(f"rois must have shape [K, 5], got {list(rois.shape)}")
    if masks.shape[0] != rois.shape[0]:
        raise ValueError(f"masks and rois must agree on K, got {masks.shape[0]} and {rois.shape[0]}")
    if masks.dtype not in _MASK_DTYPES:
        raise TypeError(f"masks must be float64, float32, float16 or bfloat16, got {masks.dtype}")
    if rois.dtype not in _ROI_DTYPES:
        raise TypeError(f"rois must be float32 or float64 (coordinates need it), got {rois.dtype}")
    if masks.device != rois.device:
        raise ValueError(f"masks and rois must be on one device, got {masks.device} and {rois.device}")
    if len(output_size) != 3:
        raise ValueError(f"output_size must be (N, H, W), got {tuple(output_size)}")
    if any(size < 0 for size in output_size):
        raise ValueError(f"output_size must not be negative, got {tuple(output_size)}")
    if sampling_ratio < 1:
        raise ValueError(f"sampling_ratio must be at least 1, got {sampling_ratio}")
    if normalize not in (None, "coverage"):
        raise ValueError(f'normalize must be None or "coverage", got {normalize!r}')


class RoIUpsample(nn.Module):
    """:func:`roi_upsample` as a module; it has no parameters.

    Args:
        spatial_scale: cells of the map per unit of the RoIs, e.g. 1/4 on FPN's P2.
        sampling_ratio: grid points per bin and axis.
        aligned: half-pixel geometry (True) or that of the first RoIAlign (False).
        normalize: None, or "coverage" to divide by the same operation on masks of ones.
    """

    def __init__(
        self, spatial_scale: float, sampling_ratio: int = 2, aligned: bool = True, normalize: str | None = None
    ) -> None:
        super().__init__()
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.normalize = normalize

    def forward(self, masks: Tensor, rois: Tensor, output_size: tuple[int, int, int]) -> Tensor:
        """``Tensor[K, C, m, m]``, ``Tensor[K, 5]``, (N, H, W) -> ``Tensor[N, C, H, W]``."""
        return roi_upsample(
            masks, rois, output_size, self.spatial_scale, self.sampling_ratio, self.aligned, self.normalize
        )

    def extra_repr(self) -> str:
        return (
            f"spatial_scale={self.spatial_scale:g}, sampling_ratio={self.sampling_ratio}, "
            f"aligned={self.aligned}, normalize={self.normalize!r}"
        )
