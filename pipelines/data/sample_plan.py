"""Which images make which step: a pure function of (seed, step), whatever the number of workers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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
    groups: bytes = b""
    """One byte per sample, see `aspect_groups`; batches hold samples of one group where there are enough."""

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
        return [Draw(epoch, int(_order(self, epoch)[place])) for epoch, place in places]


def aspect_groups(sizes: Iterable[tuple[int, int]]) -> bytes:
    """The group of each (height, width): 1 where the image is higher than wide, else 0.

    Images of one group fill a batch with less padding.
    """
    return bytes(height > width for height, width in sizes)


@lru_cache(maxsize=2)
def _order(plan: SamplePlan, epoch: int) -> NDArray[np.int64]:
    """The samples of an epoch: its permutation, rearranged into batches of one group.

    The first samples complete the batch that the epoch before has begun, as they come. Then the batches of one group,
    in the order in which they become full; at last the samples that fill none. One group is left as it comes.
    """
    order = np.random.default_rng([plan.seed, epoch]).permutation(plan.num_samples)
    if not plan.groups:
        return order
    begun = -epoch * plan.num_samples % plan.batch_size
    head, rest = order[:begun], order[begun:]
    groups = np.frombuffer(plan.groups, np.uint8)[rest]
    batches, leftovers = [np.empty((0, plan.batch_size), np.int64)], [np.empty(0, np.int64)]
    for group in np.unique(groups):
        places = np.flatnonzero(groups == group)
        whole = len(places) // plan.batch_size * plan.batch_size
        batches.append(places[:whole].reshape(-1, plan.batch_size))
        leftovers.append(places[whole:])
    full = np.concatenate(batches)
    full = full[np.argsort(full[:, -1])]
    return np.concatenate([head, rest[full.reshape(-1)], rest[np.sort(np.concatenate(leftovers))]])


def fixed_choice(num_samples: int, count: int) -> list[int]:
    """Indices of `count` samples, spread over the split and always the same; 0 or more than there are: all."""
    if not 0 < count < num_samples:
        return list(range(num_samples))
    return sorted(np.random.default_rng(0).permutation(num_samples)[:count].tolist())
