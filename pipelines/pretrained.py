"""Pretrained backbones in an object store: fetched once per machine, by a name that carries their hash."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aunet.errors import InputError
from pipelines import storage

if TYPE_CHECKING:
    from aunet.config import AUNetConfig


def with_local_weights(model: AUNetConfig) -> AUNetConfig:
    """`model`, with `backbone.weights` on this machine: a URI is fetched into torch's cache and checked.

    Raises:
        InputError: the URI's name carries no hash, there is nothing at it, or the content does not fit the name.
    """
    uri = model.backbone.weights
    if uri is None or "://" not in uri:
        return model
    from pathlib import Path

    import torch

    from aunet.model.pretrained import FIELD, check_hash, hash_in_name

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
