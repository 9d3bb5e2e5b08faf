"""Initial weights that several parts share, and where their random numbers come from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

_Module = TypeVar("_Module", bound=nn.Module)


def zero_biases(*convs: nn.Conv2d) -> None:
    """Let convolutions that have a bias start with a bias of 0."""
    for conv in convs:
        assert conv.bias is not None
        nn.init.zeros_(conv.bias)


def seeded(name: str, build: Callable[[], _Module]) -> _Module:
    """What `build` makes, with random numbers that depend on torch's seed and on `name` alone.

    So networks that share a module share its initial weights, whatever else they have. Torch's own generator stays as
    it is; what was drawn from it before does not matter, only the seed.
    """
    digest = hashlib.sha256(f"{torch.initial_seed()} {name}".encode()).digest()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int.from_bytes(digest[:8], "big"))
        return build()
