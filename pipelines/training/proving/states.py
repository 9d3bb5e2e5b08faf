"""The states of two checkpoints, compared to the bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def hashes_of(state: dict[str, Any]) -> dict[str, str]:
    """SHA-256 of each component (`model`, `average`, `optimizer`, `scaler`): names, types, shapes and bits."""
    return {name: _hash(component) for name, component in state.items() if component is not None}


def deviation(first: dict[str, Any], second: dict[str, Any]) -> float:
    """The largest difference between two numbers of the same name; infinity where the names or shapes differ."""
    one, other = dict(_leaves(first, "")), dict(_leaves(second, ""))
    if one.keys() != other.keys():
        return float("inf")
    return max((_difference(one[name], other[name]) for name in one), default=0.0)


def _hash(value: Any) -> str:
    digest = hashlib.sha256()
    for name, leaf in sorted(_leaves(value, ""), key=lambda entry: entry[0]):
        digest.update(name.encode())
        if isinstance(leaf, Tensor):
            digest.update(f"{leaf.dtype} {tuple(leaf.shape)}".encode())
            digest.update(leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            digest.update(repr(leaf).encode())
    return digest.hexdigest()


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every tensor and plain value, named by its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}/{key}")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{name}/{number}")
    else:
        yield name, value


def _difference(one: Any, other: Any) -> float:
    if isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape:
        return float((one.double() - other.double()).abs().max()) if one.numel() else 0.0
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(float(one) - float(other))
    return 0.0 if type(one) is type(other) and not isinstance(one, Tensor) and one == other else float("inf")
