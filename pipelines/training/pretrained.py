"""Pretrained backbones in an object store: fetched once per machine, by names that carry their hashes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from aunet.categories import Categories
from aunet.config import AUNetConfig
from aunet.errors import InputError
from aunet.model import AUNet, build_model
from aunet.model.pretrained import FIELD, check_hash, hash_in_name, transfer
from aunet.model_files import WEIGHTS
from pipelines.measuring.named_models import model_folder
from pipelines.store import storage
from pipelines.store.hashes import check_hashes


def build_network(config: AUNetConfig, categories: Categories) -> tuple[AUNet, list[str]]:
    """The network at the start of its training, on the CPU.

    Args:
        config: with weights that are on this machine.

    Returns:
        The network, and a line for each weight that `init_from` does not give.

    Raises:
        InputError: weights cannot be read, or belong to another network.
    """
    if config.init_from is None:
        return build_model(config, categories), []
    model = build_model(config, categories, load_weights=False)
    try:
        folder_uri = model_folder(config.init_from)
        with storage.local_folder(folder_uri) as folder:
            check_hashes(folder)
            state = load_file(Path(folder) / WEIGHTS)
    except (InputError, SafetensorError, OSError) as error:
        reason = str(error).removeprefix("--model ")
        raise InputError(f"model.init_from = {config.init_from!r}: {reason}") from error
    return model, transfer(model, state, config.init_from)


def with_local_weights(model: AUNetConfig) -> AUNetConfig:
    """`model`, with `backbone.weights` on this machine: a URI is fetched into torch's cache and checked.

    Raises:
        InputError: the URI's name carries no hash, there is no such file, or its content does not match the hash.
    """
    uri = model.backbone.weights
    if model.init_from is not None or uri is None or not storage.is_uri(uri):
        return model
    name = uri.rsplit("/", 1)[1]
    if hash_in_name(name) is None:
        raise InputError(
            f"{FIELD} = {uri!r}: the name carries no hash; rename the file to "
            f"{Path(name).stem}-HASH{Path(name).suffix} with the first 8 or more hex digits of its SHA-256"
        )
    cached = str(Path(torch.hub.get_dir(), "checkpoints", name))
    if not storage.exists(cached):
        content = storage.read_bytes(uri)
        check_hash(uri, content)
        storage.write_bytes(cached, content)
    return replace(model, backbone=replace(model.backbone, weights=cached))
