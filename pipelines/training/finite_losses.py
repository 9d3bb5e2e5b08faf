"""Losses that are not finite: noticed without waiting for the device, reported with the images that caused them."""

from __future__ import annotations

import json
from collections.abc import Iterable

import torch
from torch import Tensor

from aunet.losses import Losses
from pipelines.store import storage


class FiniteLosses:
    """Watches the losses of one rank; `check` every few steps, and before anything is kept.

    Args:
        record_uri: where a step with such losses is recorded.
    """

    def __init__(self, record_uri: str, rank: int, device: torch.device) -> None:
        self.record_uri, self.rank = record_uri, rank
        self.first = torch.zeros((), dtype=torch.int64, device=device)
        """The first step whose loss was not finite; 0: none."""
        self.recent: dict[int, tuple[list[int], Losses]] = {}
        """Step → image ids and losses, since the last check."""

    def see(self, step: int, losses: Losses, total: Tensor, image_ids: list[int]) -> None:
        """Note a step (counted from 1); nothing is read back from the device."""
        bad = ~torch.isfinite(total.detach()) & (self.first == 0)
        self.first = torch.where(bad, step, self.first)
        self.recent[step] = image_ids, Losses(*(loss.detach() for loss in losses))

    def check(self, parameters: Iterable[Tensor] = ()) -> None:
        """Stop where a loss, or one of `parameters`, is not finite.

        Raises:
            FloatingPointError: names step, rank and images, which are also in the run's folder.
        """
        step = int(self.first)
        if step:
            images, losses = self.recent[step]
            values = {name: float(value) for name, value in losses._asdict().items()}
            self._stop(step, images, f"loss {sum(values.values())} ({values})")
        flags = [torch.isfinite(p.detach()).all() for p in parameters]
        if flags and not bool(torch.stack(flags).all()):
            images = [i for ids, _ in self.recent.values() for i in ids]
            self._stop(max(self.recent, default=0), images, "weights that are not finite, though the losses were")
        self.recent.clear()

    def _stop(self, step: int, images: list[int], what: str) -> None:
        record = {"step": step, "rank": self.rank, "images": images, "what": what}
        storage.write_bytes(self.record_uri, (json.dumps(record, indent=1) + "\n").encode())
        raise FloatingPointError(
            f"step {step}: {what} on images {images} of rank {self.rank}; look at these images, lower train.lr or set "
            f"train.clip_norm ({self.record_uri})"
        )
