"""Operators of AUNet: RoIUpsample (paper section 3.3.2) for CPU and CUDA, as ``torch.ops.aunet.roi_upsample``.

Where torch is loaded, importing the package registers the operators, which exported programs need; else their first use
does, because `aunet_ops.segment_maps` does without torch: import torch first.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aunet_ops.kernels import kernel_status
    from aunet_ops.levels import assign_levels, rois_on_level
    from aunet_ops.roi_upsample import RoIUpsample, roi_upsample
    from aunet_ops.status import KernelStatus

__version__ = "0.1.0"

__all__ = [
    "KernelStatus",
    "RoIUpsample",
    "assign_levels",
    "kernel_status",
    "roi_upsample",
    "rois_on_level",
]

_HOMES = {
    "KernelStatus": "status",
    "RoIUpsample": "roi_upsample",
    "assign_levels": "levels",
    "kernel_status": "kernels",
    "roi_upsample": "roi_upsample",
    "rois_on_level": "levels",
}


def _load() -> None:
    """Bind the public names, all at once: the module roi_upsample must not hide its function."""
    modules = {home: import_module(f"aunet_ops.{home}") for home in ("roi_upsample", "levels", "kernels", "status")}
    globals().update({public: getattr(modules[home], public) for public, home in _HOMES.items()})


def __getattr__(name: str) -> Any:
    """Load torch and the operators when one of the public names is used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'aunet_ops' has no attribute {name!r}")
    _load()
    return globals()[name]


if "torch" in sys.modules:
    _load()
