"""Pretrained backbones in an object store: fetched once per machine, by names that carry their hashes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from aunet.config import AUNetConfig
from aunet.errors import InputError
from aunet.model.pretrained import FIELD, check_hash, hash_in_name
from pipelines.store import storage


def with_local_weights(model: AUNetConfig) -> AUNetConfig:
    """`model`, with `backbone.weights` on this machine: a URI is fetched into torch's cache and checked.

    Raises:
        InputError: the URI's name carries no hash, there is no such file, or its content does not match the hash.
    """
    uri = model.backbone.weights
    if uri is None or not storage.is_uri(uri):
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
