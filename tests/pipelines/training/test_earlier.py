"""What checkpoints and failures cost an earlier run."""

from __future__ import annotations

from typing import Any

from pipelines.training.earlier import EarlierRun
from pipelines.training.scaling import Saving, estimated_saving

STEP = {"kind": "step", "images_per_s": 4.0, "memory_gb": 1.0}


def run_of(*events: dict[str, Any]) -> EarlierRun:
    return EarlierRun(name="x-1", step=30, images_per_s=4.0, memory_gb=1.0, events=events)


def test_costs_are_those_that_were_measured() -> None:
    run = run_of(
        {**STEP, "step": 10, "at": 10.0},
        {"kind": "checkpoint", "step": 12, "at": 13.0, "seconds": 3.0},
        {**STEP, "step": 20, "at": 20.0, "checkpoint_ms": 100.0},
        {"kind": "failure", "step": 21, "at": 22.0},
        {"kind": "failure", "step": 21, "at": 23.0},
        {"kind": "checkpoint", "step": 25, "at": 40.0, "seconds": 5.0},
        {**STEP, "step": 30, "at": 52.0, "checkpoint_ms": 300.0},
    )
    assert run.saving(10**9) == Saving(stall_s=10 * (0.1 + 0.3) / 2, write_s=4.0, restart_s=30.0)


def test_what_was_not_measured_is_estimated() -> None:
    assert run_of({**STEP, "step": 10, "at": 1.0}).saving(10**9) == estimated_saving(10**9)
