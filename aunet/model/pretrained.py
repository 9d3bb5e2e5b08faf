"""Pretrained weights by torchvision name or file, checked against the SHA-256 digits that their names carry."""

from __future__ import annotations

import hashlib
import pickle
import re
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import WeightsEnum, get_model_weights, list_models

from aunet.errors import InputError

FIELD = "model.backbone.weights"
_HASH = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


def hash_in_name(name: str) -> str | None:
    """The first digits of the SHA-256 in a name such as `resnet50-0676ba61.pth`, as torchvision publishes; or None."""
    match = _HASH.search(name)
    return match[1] if match else None


def check_hash(name: str, content: bytes) -> None:
    """Compare a file's content with the digits in its name, if it has any.

    Raises:
        InputError: they differ.
    """
    expected, actual = hash_in_name(name), hashlib.sha256(content).hexdigest()
    if expected and not actual.startswith(expected):
        raise InputError(
            f"{FIELD} = {name!r}: the content's SHA-256 starts with {actual[: len(expected)]}, not with {expected}; "
            "the file is damaged or a different one; fetch it again"
        )


def read_weights(name: str, weights: str) -> dict[str, Tensor]:
    """The state dict of network `name` behind a torchvision weight name or a file (`.pth`, `.pt`, `.safetensors`).

    Raises:
        InputError: it is neither, it cannot be fetched or read, or the hash in its name is wrong.
    """
    known = get_model_weights(name).__members__ if name in list_models() else {}
    if weights in known:
        return _published(known[weights])
    path = Path(weights)
    if not path.is_file():
        raise InputError(f"{FIELD} = {weights!r}: neither a file nor one of {', '.join(known) or 'any known names'}")
    check_hash(weights, path.read_bytes())
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{FIELD} = {weights!r}: not a state dict ({reason:.120}); fetch the file again") from error


def _published(entry: WeightsEnum) -> dict[str, Tensor]:
    """Weights that torchvision publishes, from the cache or the network, with their hash checked."""
    try:
        return dict(entry.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        raise InputError(
            f"{FIELD} = {entry.name!r}: {entry.url} cannot be fetched ({error}); download the file where there is a "
            f"network and give its path, or put it into {Path(torch.hub.get_dir(), 'checkpoints')}"
        ) from error
