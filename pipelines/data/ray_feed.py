"""Feed `ray`: Ray tasks decode ahead of the training process, on whatever CPUs of the cluster are free.

Every training worker asks for its own share of the batches, in the order of the plan, so that order, exactly-once and
resuming come from the plan. What the tasks return stays in Ray's object store: the training process maps it.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import ray
import torch

from aunet.structures import PackedBatch
from pipelines.data.step_decoder import StepDecoder

BATCHES_PER_TASK = 4
"""A task costs several milliseconds besides its decoding."""
LOOK_AHEAD_BYTES = 512 * 2**20
"""Of decoded batches waiting in Ray's object store, for each training worker."""
MAX_RETRIES = 5
"""Of a task that was lost with its node."""


def decode_ahead(decoder: StepDecoder, numbers: range, workers: int) -> Iterator[PackedBatch]:
    """Decode in up to `workers` tasks of one CPU at a time; batches come in the order of `numbers`.

    What is ahead when the feed is closed is decoded for nobody: seconds. `ray.cancel` would end the training process
    with it, where it meets the end of a task (Ray 2.60: "Tried to complete task that was not pending").
    """
    batches = _batches(ray.put(decoder), numbers, workers)
    return chain([next(batches)], batches)


def _batches(decoder: Any, numbers: range, workers: int) -> Iterator[PackedBatch]:
    run: Any = ray.remote(num_cpus=1, num_returns=2, max_retries=MAX_RETRIES)(_decode)
    remaining = iter(range(0, len(numbers), BATCHES_PER_TASK))
    ends = deque[Any]([None] * workers)  # a task waits for the end of the one `workers` before it
    waiting = deque[Any]()
    ahead = 2 * workers
    while True:
        while len(waiting) < ahead and (first := next(remaining, None)) is not None:
            batches, end = run.remote([decoder], numbers[first : first + BATCHES_PER_TASK], ends.popleft())
            waiting.append(batches)
            ends.append(end)
        if not waiting:
            return
        plain = ray.get(waiting.popleft())
        num_bytes = sum(images.nbytes + maps.nbytes for images, _, maps, _ in plain)
        ahead = min(4 * workers, max(workers, LOOK_AHEAD_BYTES // num_bytes))
        yield from map(_from_plain, plain)
        del plain


def _decode(decoder: list[Any], numbers: range, _before: None) -> tuple[list[Any], None]:
    """What a task does: some batches, and that it has ended."""
    decode = _decoder(decoder[0])
    return [_to_plain(decode[number]) for number in numbers], None


@lru_cache(maxsize=1)
def _decoder(reference: Any) -> StepDecoder:
    """The decoder of a feed, kept with its open files and its cache from one task to the next of a process."""
    return ray.get(reference)


def _to_plain(batch: PackedBatch) -> tuple[Any, ...]:
    """A batch as arrays, which Ray neither copies nor pickles."""
    targets = [replace(t, masks=None) if t.masks is None else replace(t, masks=t.masks.numpy()) for t in batch.targets]
    return batch.images.permute(0, 2, 3, 1).numpy(), batch.image_sizes, batch.segment_maps.numpy(), targets


def _from_plain(plain: tuple[Any, ...]) -> PackedBatch:
    """The inverse of `_to_plain`. Its arrays are Ray's and must not be written to."""
    images, sizes, maps, targets = plain
    targets = [t if t.masks is None else replace(t, masks=_tensor(t.masks)) for t in targets]
    return PackedBatch(_tensor(images).permute(0, 3, 1, 2), sizes, _tensor(maps), targets)


def _tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that nothing may be written
        return torch.from_numpy(array)
