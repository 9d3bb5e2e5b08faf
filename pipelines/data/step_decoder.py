"""One rank's micro-batches of any step, decoded from prepared data the same way in every process."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from aunet.categories import Categories, ThingLabels
from aunet.config import AugmentConfig
from aunet.data.augment import augment
from aunet.data.sample import decode_sample, pack, pack_target
from aunet.structures import PackedBatch
from pipelines.data.sample_plan import SamplePlan
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
        """The `number`-th micro-batch of this rank since the first step.

        Every sample's augmentation is drawn from (seed, epoch, image_id).
        """
        step, turn = divmod(number, self.accumulate)
        first, stride = self.rank + turn * self.world_size, self.micro_batches
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums over an image's pixels depend on it
        try:
            samples = []
            for draw in self.plan.batch(step)[first::stride]:
                sample = decode_sample(self.reader.row(draw.index), self.categories)
                rng = np.random.default_rng([self.plan.seed, draw.epoch, sample.image_id])
                samples.append(augment(sample, self.augment, rng))
            return pack(samples, [pack_target(s, self.categories, self.thing_labels) for s in samples])
        finally:
            torch.set_num_threads(threads)
