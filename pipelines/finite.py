"""Losses that are no numbers: noticed without a wait for the device, told with the images that brought them."""

from __future__ import annotations

import json
from collections.abc import Iterable

import torch
from torch import Tensor

from aunet.losses import Losses
from pipelines import storage


class FiniteLosses:
    """Watches the losses of one rank; `check` every few steps, and before anything is kept.

    Args:
        run_uri: where `not_finite-<rank>.json` goes.
    """

    def __init__(self, run_uri: str, rank: int, device: torch.device) -> None:
        self.run_uri, self.rank = run_uri, rank
        self.first = torch.zeros((), dtype=torch.int64, device=device)
        """The first step whose loss was no number; 0: none."""
        self.recent: dict[int, tuple[list[int], Losses]] = {}
        """Step → image ids and losses, since the last check."""

    def see(self, step: int, losses: Losses, total: Tensor, image_ids: list[int]) -> None:
        """Take in a step (counted from 1); nothing is read back from the device."""
        bad = ~torch.isfinite(total.detach()) & (self.first == 0)
        self.first = torch.where(bad, step, self.first)
        self.recent[step] = image_ids, Losses(*(loss.detach() for loss in losses))

    def check(self, parameters: Iterable[Tensor] = ()) -> None:
        """Stop where a loss, or one of `parameters`, is no number.

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
            self._stop(max(self.recent, default=0), images, "weights that are no numbers, though the losses were")
        self.recent.clear()

    def _stop(self, step: int, images: list[int], what: str) -> None:
        place = storage.join(self.run_uri, f"not_finite-{self.rank}.json")
        record = {"step": step, "rank": self.rank, "images": images, "what": what}
        storage.write_bytes(place, (json.dumps(record, indent=1) + "\n").encode())
        raise FloatingPointError(
            f"step {step}: {what} on images {images} of rank {self.rank}; look at these images, lower train.lr or set "
            f"train.clip_norm ({place})"
        )
