"""Initial weights that several parts share, and where their random numbers come from; networks without weights."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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


@contextlib.contextmanager
def described() -> Iterator[None]:
    """Modules that are made in this block have shapes and no numbers: torch's device `meta`, with nothing drawn.

    Drawing normal numbers on that device loads torch's compiler, 4 s in every process.
    """
    with torch.device("meta"), _NothingDrawn():
        yield


class _NothingDrawn(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func in (Tensor.normal_, nn.init.normal_):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))
