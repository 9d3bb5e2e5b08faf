"""The batches of every step, as `sample_plan` orders them, decoded here, in helper processes or in Ray tasks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from aunet.structures import PackedBatch
from pipelines.data import torch_feed
from pipelines.data.sample_plan import SamplePlan, aspect_groups
from pipelines.data.shards import ShardReader
from pipelines.data.step_decoder import StepDecoder
from pipelines.settings.run_config import FeedConfig, RunConfig

FIRST_BATCHES = 8
"""Micro-batches that the training process decodes itself during the seconds in which its helpers start."""


def sample_plan(config: RunConfig, reader: ShardReader) -> SamplePlan:
    """The order of a run's samples, grouped by aspect where images keep sizes of their own."""
    train = config.train
    groups = b"" if config.augment.crop else aspect_groups(reader.sizes)
    ends = np.array(reader.shard_ends, np.int64).tobytes() if 0 < reader.window < len(reader) else b""
    return SamplePlan(len(reader), train.batch_size, train.epochs, train.seed, groups, reader.window, ends)


def training_batches(decoder: StepDecoder, first_step: int, feed: FeedConfig) -> Iterator[PackedBatch]:
    """The micro-batches from `first_step` to the end of the plan; the same, bit for bit, whatever the feed."""
    numbers = range(first_step * decoder.accumulate, decoder.plan.num_steps * decoder.accumulate)
    if not feed.workers or len(numbers) <= FIRST_BATCHES:
        yield from _decode_beside(decoder, numbers)
        return
    decode_ahead = torch_feed.decode_ahead
    if feed.kind == "ray":
        from pipelines.data.ray_feed import decode_ahead  # Ray takes seconds to import
    gpu = torch.cuda.current_device() if torch.cuda.is_initialized() else -1
    # Each thread has a GPU of its own, the first one at its start; -1 leaves it.
    with ThreadPoolExecutor(1, initializer=torch.cuda.set_device, initargs=(gpu,)) as starter:
        rest = starter.submit(decode_ahead, decoder, numbers[FIRST_BATCHES:], feed.workers)
        yield from _decode_beside(decoder, numbers[:FIRST_BATCHES])
        yield from rest.result()


def _decode_beside(decoder: StepDecoder, numbers: range) -> Iterator[PackedBatch]:
    """Decode in a thread of this process, one micro-batch ahead of the one that is used."""
    with ThreadPoolExecutor(1) as thread:
        threads = torch.get_num_threads()
        thread.submit(torch.set_num_threads, 1).result()  # of that thread, but also of threads that start from now on
        torch.set_num_threads(threads)
        waiting = deque(thread.submit(decoder.__getitem__, number) for number in numbers[:1])
        for number in numbers[1:]:
            batch = waiting.popleft().result()
            waiting.append(thread.submit(decoder.__getitem__, number))
            yield batch
        for last in waiting:
            yield last.result()


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
