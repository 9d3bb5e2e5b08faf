"""Where the time of a training step goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pipelines.training.gpus import gpu_called

SAMPLE_EVERY = 10
"""Steps between two whose exchange of gradients is timed; on a GPU the next step then waits for it."""


class Stopwatch:
    """Adds up the time of the phases of a step: input, forward, backward, optimizer, checkpoint, evaluation.

    On a GPU these are the times that the device spends between two points of its queue, so a phase in which only the
    host works, such as waiting for a batch, counts as far as the device had nothing left to do. Nothing waits for the
    device before `figures` is called.
    """

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._spans: list[tuple[str, Any, Any]] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is done inside; phases do not overlap."""
        start = self._now()
        try:
            yield
        finally:
            self._spans.append((name, start, self._now()))

    def figures(self, steps: int) -> dict[str, float]:
        """Mean milliseconds per step since the last call, as `<phase>_ms`, of every phase that occurred.

        Args:
            steps: finished since the last call.
        """
        total: dict[str, float] = defaultdict(float)
        spans, self._spans = self._spans, []
        if self._is_cuda and spans:
            spans[-1][2].synchronize()
        for name, start, end in spans:
            total[f"{name}_ms"] += start.elapsed_time(end) if self._is_cuda else 1000 * (end - start)
        return {name: value / steps for name, value in total.items()}

    def _now(self) -> Any:
        if not self._is_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def time_exchange(replica: nn.Module) -> None:
    """Let the replica time its exchange of gradients, for `exchange_figures`."""
    if isinstance(replica, DistributedDataParallel):
        replica._set_ddp_runtime_logging_sample_rate(SAMPLE_EVERY)


def exchange_figures(replica: nn.Module) -> dict[str, float]:
    """`all_reduce_ms`: from the last gradient of this rank to the last of the sums over all ranks.

    That is the part of the backward pass in which nothing is computed, because gradients travel or another rank is not
    as far yet; the mean of all steps that were timed. Empty for one rank alone, and before the first such step.
    """
    if not isinstance(replica, DistributedDataParallel):
        return {}
    measured = replica._get_ddp_logging_data()
    exchange = measured.get("avg_backward_comm_time", 0)  # nanoseconds, as all of them
    beside_computing = measured.get("avg_backward_compute_comm_overlap_time", 0)
    return {"all_reduce_ms": max(0.0, (exchange - beside_computing) / 1e6)} if exchange else {}


def utilisation(flops_per_s: float, device: torch.device) -> dict[str, float]:
    """`mfu`: share of the device's peak (see `gpus`) that the network's own operations use; empty where it is unknown.

    Args:
        flops_per_s: operations of this rank's images, forward and backward, per second.
    """
    gpu = gpu_called(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    return {"mfu": flops_per_s / gpu.flops} if gpu else {}
