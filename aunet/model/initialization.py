"""Initial weights that several parts share."""

from __future__ import annotations

from torch import nn


def zero_biases(*convs: nn.Conv2d) -> None:
    """Let convolutions that have a bias start with a bias of 0."""
    for conv in convs:
        assert conv.bias is not None
        nn.init.zeros_(conv.bias)
