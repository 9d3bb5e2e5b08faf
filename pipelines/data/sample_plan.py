"""Which images make which step: a pure function of (seed, step), whatever the number of workers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np


class Draw(NamedTuple):
    """One image in one epoch: the epoch decides how it is augmented."""

    epoch: int
    index: int


@dataclass(frozen=True)
class SamplePlan:
    """The order of all samples of a run: one permutation per epoch, cut into global batches without a remainder.

    Every image comes exactly once per epoch. A batch may reach over the end of an epoch; the steps left at the end of
    the last epoch that do not fill a batch are not run. The cursor of a run is one integer, the step.
    """

    num_samples: int
    batch_size: int
    epochs: int
    seed: int

    @property
    def num_steps(self) -> int:
        return max(1, self.num_samples * self.epochs // self.batch_size)

    def epoch_of(self, step: int) -> float:
        """How many epochs are behind when `step` steps are done."""
        return step * self.batch_size / self.num_samples

    def batch(self, step: int) -> list[Draw]:
        """The global batch of a step."""
        first = step * self.batch_size
        places = [divmod(k, self.num_samples) for k in range(first, first + self.batch_size)]
        return [Draw(epoch, int(_order(self.seed, epoch, self.num_samples)[place])) for epoch, place in places]


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(num_samples)


def fixed_choice(num_samples: int, count: int) -> list[int]:
    """Indices of `count` samples, spread over the split and always the same; 0 or more than there are: all."""
    if not 0 < count < num_samples:
        return list(range(num_samples))
    return sorted(np.random.default_rng(0).permutation(num_samples)[:count].tolist())
