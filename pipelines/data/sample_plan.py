"""Which images make up which step: a pure function of (seed, step), whatever the number of workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Draw:
    """One image in one epoch: the epoch decides how it is augmented."""

    epoch: int
    index: int


@dataclass(frozen=True)
class SamplePlan:
    """The order of all samples of a run: one permutation per epoch, cut into global batches without a remainder.

    Every image comes exactly once per epoch. A batch may reach over the end of an epoch; samples left at the end
    of the last epoch that do not fill a batch are not used. The cursor of a run is one integer, the step.
    """

    num_samples: int
    batch_size: int
    epochs: int
    seed: int
    groups: bytes = b""
    """One byte per sample, see `aspect_groups`; batches hold samples of one group where there are enough."""
    window: int = 0
    """Shards are shuffled, and then the samples of consecutive ones, at least so many; 0: all samples at once."""
    shard_ends: bytes = b""
    """int64 for each shard, the number of the sample after its last one; not used without `window`."""

    @property
    def num_steps(self) -> int:
        return max(1, self.num_samples * self.epochs // self.batch_size)

    def epoch_of(self, step: int) -> float:
        """Epochs completed after `step` steps."""
        return step * self.batch_size / self.num_samples

    def ends_period(self, step: int, epochs: int) -> bool:
        """Whether the step that ends at `step` ends a period of that many epochs, or the run; 0 epochs: never."""
        if not epochs or step == self.num_steps:
            return bool(epochs)
        return self.epoch_of(step - 1) // epochs != self.epoch_of(step) // epochs

    def batch(self, step: int) -> list[Draw]:
        """The global batch of a step."""
        first = step * self.batch_size
        positions = [divmod(k, self.num_samples) for k in range(first, first + self.batch_size)]
        return [Draw(epoch, int(_order(self, epoch)[position])) for epoch, position in positions]


def aspect_groups(sizes: Iterable[tuple[int, int]]) -> bytes:
    """The group of each (height, width): 1 where the image is higher than wide, else 0.

    Images of one group fill a batch with less padding.
    """
    return bytes(height > width for height, width in sizes)


@lru_cache(maxsize=2)
def _order(plan: SamplePlan, epoch: int) -> NDArray[np.int64]:
    """The samples of an epoch: its permutation, rearranged into batches of one group.

    The first samples of the permutation complete the batch that the epoch before has begun. Then come the batches of
    one group, in the order in which they become full, and last the samples that fill none. With a single group the
    permutation is unchanged.
    """
    rng = np.random.default_rng([plan.seed, epoch])
    order = _by_windows(plan, rng) if 0 < plan.window < plan.num_samples else rng.permutation(plan.num_samples)
    if not plan.groups:
        return order
    begun = -epoch * plan.num_samples % plan.batch_size
    head, rest = order[:begun], order[begun:]
    groups = np.frombuffer(plan.groups, np.uint8)[rest]
    batches, leftovers = [np.empty((0, plan.batch_size), np.int64)], [np.empty(0, np.int64)]
    for group in np.unique(groups):
        positions = np.flatnonzero(groups == group)
        end = len(positions) // plan.batch_size * plan.batch_size
        batches.append(positions[:end].reshape(-1, plan.batch_size))
        leftovers.append(positions[end:])
    full = np.concatenate(batches)
    full = full[np.argsort(full[:, -1])]
    return np.concatenate([head, rest[full.reshape(-1)], rest[np.sort(np.concatenate(leftovers))]])


def _by_windows(plan: SamplePlan, rng: np.random.Generator) -> NDArray[np.int64]:
    """A permutation of all samples that comes from a window of shards at a time, so that few are open at once."""
    ends = np.frombuffer(plan.shard_ends, np.int64)
    lengths = np.diff(ends, prepend=0)
    shards = rng.permutation(len(ends))
    lengths, passed = lengths[shards], np.cumsum(lengths[shards])
    samples = np.repeat(ends[shards] - passed, lengths) + np.arange(plan.num_samples)
    windows = np.repeat((passed - 1) // plan.window, lengths)
    return samples[np.lexsort((rng.random(plan.num_samples), windows))]


def fixed_choice(num_samples: int, count: int) -> list[int]:
    """Indices of `count` samples, spread over the split and always the same; 0 or more than there are: all."""
    if not 0 < count < num_samples:
        return list(range(num_samples))
    return sorted(np.random.default_rng(0).permutation(num_samples)[:count].tolist())


def spread(numbers: Sequence[int], count: int) -> list[int]:
    """At most `count` of the numbers, evenly spread, the first and the last among them."""
    if not numbers:
        return []
    return sorted({numbers[round(n * (len(numbers) - 1) / (count - 1))] for n in range(count)})
