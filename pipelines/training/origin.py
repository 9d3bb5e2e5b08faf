"""What rank 0 tells of itself when it begins, so that the run's events say what it was made from."""

from __future__ import annotations

import hashlib
import platform

import torch
import torchvision

from aunet.config import AUNetConfig
from aunet.model.pretrained import weights_file
from pipelines.measuring.named_models import find_model


def worker_facts(model: AUNetConfig, device: torch.device) -> dict[str, str]:
    """Versions of the libraries, the device, and the pretrained backbone with its hash.

    Args:
        model: with weights that are published or on this machine.
    """
    versions = (
        ("Python", platform.python_version()),
        ("torch", torch.__version__),
        ("torchvision", torchvision.__version__),
    )
    facts = {
        "libraries": ", ".join(f"{name} {version}" for name, version in versions),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
    }
    backbone = model.backbone
    if model.init_from:
        facts |= {"weights": model.init_from, "weights_sha256": find_model(model.init_from).sha256()}
    elif backbone.weights:
        content = weights_file(backbone.name, backbone.weights).read_bytes()
        facts |= {"weights": backbone.weights, "weights_sha256": hashlib.sha256(content).hexdigest()}
    return facts
