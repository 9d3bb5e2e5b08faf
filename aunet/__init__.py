"""AUNet, the Attention-guided Unified Network for panoptic segmentation (CVPR 2019)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aunet.config import AUNetConfig
    from aunet.model import AUNet, build_model
    from aunet.predictor import Predictor

__version__ = "0.1.0"
__all__ = ["AUNet", "AUNetConfig", "Predictor", "build_model"]

_HOMES = {
    "AUNet": "aunet.model",
    "AUNetConfig": "aunet.config",
    "Predictor": "aunet.predictor",
    "build_model": "aunet.model",
}


def __getattr__(name: str) -> Any:
    """Import the public names on first use: settings can be read without loading torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'aunet' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
