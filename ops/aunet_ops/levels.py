"""Which FPN level a RoI belongs to, as in "Feature Pyramid Networks" (Lin et al., 2017), Eq. 1."""

import torch
from torch import Tensor

# torchvision's tolerance: a 224 x 224 box is on level 4 in spite of log2's last bit.
_EPS = 1e-6


def assign_levels(
    rois: Tensor,
    min_level: int = 2,
    max_level: int = 5,
    canonical_size: float = 224,
    canonical_level: int = 4,
) -> Tensor:
    """FPN level of each RoI: ``floor(canonical_level + log2(sqrt(w * h) / canonical_size))``, clamped.

    The paper assigns RoIUpsample's maps "to four different scales according to the size of RoIs" by this rule.

    Args:
        rois: ``Tensor[K, 5]`` of (image index, x1, y1, x2, y2) or ``Tensor[K, 4]`` of (x1, y1, x2, y2), in pixels
            of the input image, not of a feature map.
        min_level: the finest level (2: stride 4).
        max_level: the coarsest level (5: stride 32).
        canonical_size: side in pixels of the box that sits exactly on ``canonical_level``.
        canonical_level: the level of a box of ``canonical_size``.

    Returns:
        ``Tensor[K]`` of int64 in ``[min_level, max_level]``. Empty and non-finite boxes get ``min_level``
        (RoIUpsample ignores them wherever they are).

    Raises:
        ValueError: if ``rois`` has another shape or ``min_level > max_level``.
    """
    if rois.dim() != 2 or rois.shape[1] not in (4, 5):
        raise ValueError(f"rois must have shape [K, 5] or [K, 4], got {list(rois.shape)}")
    if min_level > max_level:
        raise ValueError(f"min_level must not be above max_level, got {min_level} and {max_level}")
    x1, y1, x2, y2 = rois[:, -4:].float().unbind(1)
    side = ((x2 - x1).clamp(min=0) * (y2 - y1).clamp(min=0)).sqrt()
    level = torch.floor(canonical_level + torch.log2(side / canonical_size) + _EPS)
    level = torch.where(torch.isfinite(side), level, torch.full_like(level, min_level))
    return level.clamp(min_level, max_level).to(torch.int64)


def rois_on_level(rois: Tensor, levels: Tensor, level: int) -> Tensor:
    """The same RoIs with the image index of every RoI that is not on ``level`` set to -1, which means inactive.

    So every level can process all K masks: shapes stay static and nothing waits for the device.

    Args:
        rois: ``Tensor[K, 5]`` of (image index, x1, y1, x2, y2).
        levels: ``Tensor[K]``, as from :func:`assign_levels`.
        level: the level to keep.

    Returns:
        ``Tensor[K, 5]``, a new tensor.
    """
    index = torch.where(levels == level, rois[:, 0], torch.full_like(rois[:, 0], -1))
    return torch.cat([index[:, None], rois[:, 1:]], dim=1)
