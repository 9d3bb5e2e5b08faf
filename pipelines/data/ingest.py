"""The batches of every step, as `sample_plan` orders them, decoded here, in processes beside or in Ray tasks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from aunet.data.augment import augment
from aunet.data.sample import decode_sample, pack, pack_target
from pipelines.data.sample_plan import SamplePlan, aspect_groups, fixed_choice as fixed_choice

if TYPE_CHECKING:
    from aunet.categories import Categories, ThingLabels
    from aunet.config import AugmentConfig
    from aunet.structures import PackedBatch
    from pipelines.config import FeedConfig, RunConfig
    from pipelines.data.shards import ShardReader

FIRST_BATCHES = 8
"""Micro-batches that the training process decodes itself while its helpers start, which takes them seconds."""


def sample_plan(config: RunConfig, reader: ShardReader) -> SamplePlan:
    """The order of a run's samples, grouped by aspect where images come at sizes of their own."""
    train = config.train
    groups = b"" if config.augment.crop else aspect_groups(reader.sizes)
    return SamplePlan(len(reader), train.batch_size, train.epochs, train.seed, groups)


@dataclass(frozen=True)
class StepDecoder:
    """Makes one rank's micro-batches of any step, the same in whatever process; may be pickled into it.

    A step's batch is cut into `world_size × accumulate` micro-batches: the v-th takes every so-manyth image from the
    v-th on. Rank r has the r-th, the (r + world_size)-th and so on, so that the same micro-batches make the step,
    however many ranks share them.
    """

    reader: ShardReader
    plan: SamplePlan
    categories: Categories
    augment: AugmentConfig
    thing_labels: ThingLabels
    rank: int
    world_size: int
    accumulate: int = 1
    """Micro-batches of each rank in a step."""

    def __getitem__(self, number: int) -> PackedBatch:
        """The `number`-th micro-batch of this rank since the first step.

        Every sample's augmentation is drawn from (seed, epoch, image_id).
        """
        step, turn = divmod(number, self.accumulate)
        first, stride = self.rank + turn * self.world_size, self.world_size * self.accumulate
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


def training_batches(decoder: StepDecoder, first_step: int, feed: FeedConfig) -> Iterator[PackedBatch]:
    """The micro-batches from `first_step` to the end of the plan; the same, bit for bit, whatever the feed."""
    numbers = range(first_step * decoder.accumulate, decoder.plan.num_steps * decoder.accumulate)
    if not feed.workers or len(numbers) <= FIRST_BATCHES:
        yield from map(decoder.__getitem__, numbers)
        return
    if feed.kind == "torch":
        from pipelines.data.torch_feed import decode_ahead
    else:
        from pipelines.data.ray_feed import decode_ahead
    with ThreadPoolExecutor(1) as starter:
        rest = starter.submit(decode_ahead, decoder, numbers[FIRST_BATCHES:], feed.workers)
        yield from map(decoder.__getitem__, numbers[:FIRST_BATCHES])
        yield from rest.result()


class Timed:
    """Iterates over `batches` and adds up how long each `next` took."""

    def __init__(self, batches: Iterator[PackedBatch]) -> None:
        self.batches, self.seconds = batches, 0.0

    def __iter__(self) -> Iterator[PackedBatch]:
        return self

    def __next__(self) -> PackedBatch:
        started = time.monotonic()
        try:
            return next(self.batches)
        finally:
            self.seconds += time.monotonic() - started
