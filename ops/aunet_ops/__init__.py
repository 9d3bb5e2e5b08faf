"""Operators of AUNet: RoIUpsample (paper section 3.3.2) for CPU and CUDA, as ``torch.ops.aunet.roi_upsample``."""

from aunet_ops.kernels import KernelStatus, kernel_status
from aunet_ops.levels import assign_levels, rois_on_level
from aunet_ops.roi_upsample import RoIUpsample, roi_upsample

__version__ = "0.1.0"

__all__ = [
    "KernelStatus",
    "RoIUpsample",
    "assign_levels",
    "kernel_status",
    "roi_upsample",
    "rois_on_level",
]
