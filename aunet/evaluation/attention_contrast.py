"""Whether attention tells background from foreground: the mean of M' over each, against the ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from aunet.evaluation.overlap import Ids
from aunet.segments import Segment


class AttentionContrast:
    """Sums of M' over the pixels of things and of stuff; several of them merge into one.

    Every pixel of the ground truth counts once, crowds among the things; void is not counted.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        """Name of a map → Tensor[2, 2] float64: for things, then for stuff, the sum of M' and the number of pixels."""

    def update(self, attention: Mapping[str, Tensor], true_ids: Ids, true_segments: Sequence[Segment]) -> None:
        """Count one image.

        Args:
            attention: M' by name, each Tensor[H, W] in [0, 1]; may be empty.
            true_ids: [H, W] ids, 0 is void.
            true_segments: one for every other id in `true_ids`.
        """
        if not attention:
            return
        ids = true_ids.detach().cpu().numpy() if isinstance(true_ids, Tensor) else true_ids
        kinds = [[s.id for s in true_segments if s.is_thing == is_thing] for is_thing in (True, False)]
        masks = torch.from_numpy(np.stack([np.isin(ids, kind) for kind in kinds]).reshape(2, -1))
        pixels = masks.sum(1, dtype=torch.float64)
        weights = masks.to(next(iter(attention.values())).device, torch.float64)
        for name, map_ in attention.items():
            if map_.shape != ids.shape:
                raise ValueError(f"{name} must have the size of true_ids, {list(ids.shape)}, got {list(map_.shape)}")
            self._add(name, torch.stack([(weights @ map_.flatten().double()).cpu(), pixels], dim=1))

    def merge(self, other: AttentionContrast) -> None:
        """Add the sums of `other`."""
        for name, count in other.sums.items():
            self._add(name, count)

    def to_plain(self) -> dict[str, list[list[float]]]:
        """The sums as JSON values."""
        return {name: count.tolist() for name, count in self.sums.items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, list[list[float]]]) -> AttentionContrast:
        """The inverse of `to_plain`."""
        contrast = cls()
        contrast.sums = {name: torch.tensor(count, dtype=torch.float64) for name, count in plain.items()}
        return contrast

    def compute(self) -> dict[str, dict[str, float | None]]:
        """Name of a map → mean of M' over `things` and `stuff`, and stuff minus things as `difference`.

        None where no such pixel was counted.
        """
        rows: dict[str, dict[str, float | None]] = {}
        for name, count in self.sums.items():
            things, stuff = (float(total / pixels) if pixels else None for total, pixels in count)
            rows[name] = {
                "things": things,
                "stuff": stuff,
                "difference": None if things is None or stuff is None else stuff - things,
            }
        return rows

    def _add(self, name: str, count: Tensor) -> None:
        self.sums[name] = self.sums[name] + count if name in self.sums else count
