"""Interrupted at random points, in the saver's thread too: the run ends with the same bits, nothing lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interruptions import Interrupted, Runs, interrupted_config
from tests.preparing import preprocess_here

pytestmark = [
    pytest.mark.faults,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


def check(interrupted: Interrupted, undisturbed: Interrupted, times: int) -> None:
    assert interrupted.interruptions.total() == times
    assert interrupted.hashes == undisturbed.hashes
    assert (interrupted.lost, interrupted.doubled) == (undisturbed.lost, undisturbed.doubled) == (0, 0)
    assert undisturbed.earlier["model"] != undisturbed.hashes["model"]  # the comparison can fail


def interrupt(folder: Path, steps: int, times: int, seeds: range) -> list[Interrupted]:
    config = interrupted_config(steps)
    runs = Runs(config, preprocess_here(config), folder)
    undisturbed = runs.undisturbed()
    results = [runs.interrupted(times, seed) for seed in seeds]
    for result in results:
        check(result, undisturbed, times)
    return results


def test_a_dozen_interruptions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (result,) = interrupt(tmp_path / "runs", 30, 12, range(1))
    with capsys.disabled():
        print(f"\ninterruptions in one process: {dict(result.interruptions)} at steps {sorted(result.steps)}")


@pytest.mark.slow
def test_two_hundred_interruptions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = interrupt(tmp_path / "runs", 60, 25, range(1, 9))
    with capsys.disabled():
        print(f"\ninterruptions in one process: {sum(r.interruptions.total() for r in results)}")
        for result in results:
            print(f"  {dict(result.interruptions)} at steps {sorted(result.steps)}")
