"""One rank's micro-batches of any step, decoded from prepared data the same way in every process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from aunet.categories import Categories, ThingLabels
from aunet.config import AugmentConfig
from aunet.data.augment import augment
from aunet.data.copy_paste import paste_things
from aunet.data.sample import Sample, decode_sample, pack, pack_target
from aunet.structures import PackedBatch
from pipelines.data.sample_plan import Draw, SamplePlan
from pipelines.data.shards import ShardReader


@dataclass(frozen=True)
class StepDecoder:
    """Makes one rank's micro-batches of any step, the same in every process; may be pickled into others.

    A step's batch is cut into n micro-batches: the v-th has every n-th image from the v-th on. Rank r has the r-th, the
    (r + world_size)-th and so on, so that the same micro-batches make the step, however many ranks share them.
    """

    reader: ShardReader
    plan: SamplePlan
    categories: Categories
    augment: AugmentConfig
    thing_labels: ThingLabels
    rank: int
    world_size: int
    micro_batches: int
    """Of a step, over all ranks; at least as many as there are ranks."""

    @property
    def accumulate(self) -> int:
        """Micro-batches of this rank in a step; one fewer than of others where they do not divide evenly."""
        return len(range(self.rank, self.micro_batches, self.world_size))

    def __getitem__(self, number: int) -> PackedBatch:
        """The `number`-th micro-batch of this rank since the first step."""
        samples = self.samples(number)
        return pack(samples, [pack_target(s, self.categories, self.thing_labels) for s in samples])

    def samples(self, number: int) -> list[Sample]:
        """The images of the `number`-th micro-batch, augmented, before they are packed.

        Every sample's augmentation is drawn from (seed, epoch, image_id), and so is what is pasted over it, which comes
        from the step's whole batch.
        """
        step, turn = divmod(number, self.accumulate)
        first, stride = self.rank + turn * self.world_size, self.micro_batches
        draws = self.plan.batch(step)
        threads = torch.get_num_threads()
        if threads > 1:
            torch.set_num_threads(1)  # sums over an image's pixels depend on it
        try:
            return [self._pasted(self._augmented(draw), draw, draws) for draw in draws[first::stride]]
        finally:
            if threads > 1:
                torch.set_num_threads(threads)

    def _augmented(self, draw: Draw) -> Sample:
        sample = decode_sample(self.reader.row(draw.index), self.categories)
        return augment(sample, self.augment, np.random.default_rng([self.plan.seed, draw.epoch, sample.image_id]))

    def _pasted(self, sample: Sample, draw: Draw, draws: Sequence[Draw]) -> Sample:
        """The sample, perhaps with things of another one of `draws` pasted over it."""
        if not self.augment.copy_paste:
            return sample
        rng = np.random.default_rng([self.plan.seed, draw.epoch, sample.image_id, 1])
        others = [other for other in draws if other.index != draw.index]
        if rng.random() >= self.augment.copy_paste or not others:
            return sample
        return paste_things(sample, self._augmented(others[int(rng.integers(len(others)))]), rng)
