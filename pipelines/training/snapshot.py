"""A copy of the state on the host, taken between two steps while the device goes on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Snapshot:
    """Copies states of the same structure into the same memory, again and again.

    Of a GPU the copies are queued behind the step before and ahead of the next one, into pinned memory: the caller does
    not wait for them, whoever reads them does.
    """

    def __init__(self) -> None:
        self._copies: list[Tensor] = []
        self._copied: torch.cuda.Event | None = None

    def take(self, state: Any) -> Any:
        """The state with copies in place of its tensors, valid until the next call."""
        fresh: list[Tensor] = []
        copy = self._copy(state, iter(self._copies), fresh)
        self._copies = fresh
        if any(tensor.is_pinned() for tensor in fresh[:1]):
            self._copied = torch.cuda.Event()
            self._copied.record()
        return copy

    def wait(self) -> None:
        """Until the copies are complete."""
        if self._copied is not None:
            self._copied.synchronize()

    def _copy(self, value: Any, earlier: Any, fresh: list[Tensor]) -> Any:
        if isinstance(value, Tensor):
            kept = next(earlier, None)
            if (
                kept is None
                or kept.shape != value.shape
                or kept.dtype != value.dtype
                or kept.stride() != value.stride()
            ):
                kept = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
            fresh.append(kept.copy_(value.detach(), non_blocking=True))
            return kept
        if isinstance(value, dict):
            return {key: self._copy(inner, earlier, fresh) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._copy(inner, earlier, fresh) for inner in value)
        return value
