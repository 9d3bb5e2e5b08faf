"""Pretrained weights by torchvision name or file, checked against the SHA-256 digits that their names carry."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import WeightsEnum, get_model_weights, list_models

from aunet.errors import InputError
from aunet.torch_files import read_state

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
    path = _published(known[weights]) if weights in known else Path(weights)
    if not path.is_file():
        raise InputError(f"{FIELD} = {weights!r}: neither a file nor one of {', '.join(known) or 'any known names'}")
    check_hash(str(path), path.read_bytes())
    try:
        state = load_file(path) if path.suffix == ".safetensors" else read_state(path)
        if not isinstance(state, Mapping) or not all(isinstance(weight, Tensor) for weight in state.values()):
            raise ValueError("it holds something else than named tensors")
    except (SafetensorError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{FIELD} = {str(path)!r}: not a state dict ({reason:.120}); fetch the file again") from error
    return dict(state)


def _published(entry: WeightsEnum) -> Path:
    """The file of weights that torchvision publishes, in its cache; fetched where it is not there yet."""
    path = Path(torch.hub.get_dir(), "checkpoints", entry.url.rpartition("/")[2])
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(entry.url, str(path), hash_in_name(path.name), progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise InputError(
            f"{FIELD} = {entry.name!r}: {entry.url} cannot be fetched ({error}); download the file where there is a "
            f"network and give its path, or put it into {path.parent}"
        ) from error
    return path
