"""A window of steps gives one trace of just these steps."""

from __future__ import annotations

import gzip
import json

import torch

from pipelines.training.profiling import StepProfiler

CPU = torch.device("cpu")


def traces(window: tuple[int, int] | None, steps: range) -> list[bytes]:
    """Multiply matrices of step + 1 rows; what the profiler returns."""
    profiler, returned = StepProfiler(window, CPU), []
    for step in steps:
        returned.append(profiler.before(step))
        torch.mm(torch.zeros(step + 1, 2), torch.zeros(2, 2))
    return [trace for trace in (*returned, profiler.finish()) if trace is not None]


def multiplied(trace: bytes) -> int:
    events = json.loads(gzip.decompress(trace))["traceEvents"]
    return sum(event["name"] == "aten::mm" for event in events)


def test_the_window_and_nothing_else_is_traced() -> None:
    (trace,) = traces((2, 3), range(8))
    assert multiplied(trace) == 3


def test_a_run_that_ends_in_the_window_has_what_there_was() -> None:
    (trace,) = traces((2, 3), range(4))
    assert multiplied(trace) == 2


def test_no_window_or_one_that_is_over_traces_nothing() -> None:
    assert traces(None, range(3)) == [] and traces((1, 2), range(5, 9)) == []
