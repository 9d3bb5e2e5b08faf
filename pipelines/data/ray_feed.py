"""Feed `ray`: Ray Data decodes ahead of the training process, on whatever CPUs of the cluster are free.

One pipeline per training worker, over its share of the batches. A row is a few batches in the order of the plan, so
that order, exactly-once and resuming come from the plan and not from Ray Data, whose iterators have no state.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from itertools import chain
from typing import Any

import ray.data
from ray.data import ExecutionResources, TaskPoolStrategy

from aunet.structures import PackedBatch
from pipelines.data.step_decoder import StepDecoder

BATCHES_PER_ROW = 4
"""Ray Data spends several milliseconds on each row."""
ROWS_PER_TASK = 4
LOOK_AHEAD_BYTES = 512 * 2**20
"""Of decoded batches waiting in Ray's object store, for each training worker."""


def decode_ahead(decoder: StepDecoder, numbers: range, workers: int) -> Iterator[PackedBatch]:
    """Decode in up to `workers` tasks of one CPU at a time; batches come in the order of `numbers`."""
    rows = -(-len(numbers) // BATCHES_PER_ROW)
    table = ray.data.range(rows, concurrency=workers, override_num_blocks=-(-rows // ROWS_PER_TASK))
    context = table.context
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # a row is handed on as soon as it is decoded
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = ExecutionResources(cpu=workers, object_store_memory=LOOK_AHEAD_BYTES)

    def decode(row: dict[str, Any]) -> dict[str, Any]:
        first = row["id"] * BATCHES_PER_ROW
        batches = [decoder[number] for number in numbers[first : first + BATCHES_PER_ROW]]
        return {"batches": pickle.dumps(batches, protocol=5)}

    decoded = table.map(decode, compute=TaskPoolStrategy(size=workers))
    batches = chain.from_iterable(pickle.loads(row["batches"]) for row in decoded.iter_rows())
    return chain([next(batches)], batches)
