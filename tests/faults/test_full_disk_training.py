"""No room for what training writes: one line and exit code 2; with room, the same command succeeds. Minutes each."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.verify import verify
from tests.commands import TINY_RUN, jobs
from tests.disks import small_disk

COMMANDS = {
    "run": ["run", "shapes_smoke", *TINY_RUN],
    "tune": ["tune", "shapes_smoke", *TINY_RUN, "--tune.num_trials", "2", "--tune.epochs", "1"],
    "retrain": ["retrain", "shapes_smoke", *TINY_RUN],
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("verb", COMMANDS)
@pytest.mark.parametrize("megabytes", [1, 40])
def test_a_disk_that_gets_full(verb: str, megabytes: int, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes) as disk:
        store = disk.path / "store"
        _, printed = jobs(store, *COMMANDS[verb], rc=1, seconds=900)
        errors = [line for line in printed.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and "Traceback" not in printed, printed[-3000:]
        disk.grow(2000)
        jobs(store, *COMMANDS[verb], seconds=900)
        assert verify(str(store)).problems == []


def test_evaluate_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2000) as disk:
        store = disk.path / "store"
        words = ["shapes_smoke", *TINY_RUN]
        jobs(store, "preprocess", *words)
        jobs(store, "train", *words)
        disk.fill(16_384)
        _, printed = jobs(store, "evaluate", *words, rc=1)
        assert [line for line in printed.splitlines() if line.startswith("error: ")], printed[-3000:]
        assert not list(store.rglob("report.json"))
        disk.free()
        report, _ = jobs(store, "evaluate", *words)
        assert 0 <= report["PQ"] <= 100
