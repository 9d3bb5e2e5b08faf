"""Preprocessing killed anywhere gives, run again, what an undisturbed run gives."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.preprocess import preprocess
from pipelines.settings.run_config import DataConfig, RunConfig, ShapesConfig
from pipelines.store import storage
from tests.commands import ROOT
from tests.preparing import contents, preprocess_here


def run_until(config: RunConfig, steps: int) -> bool:
    """Preprocess in a process of its own that is killed after so many steps of writing; whether it came to the end."""
    child = os.fork()
    if child == 0:
        left = steps

        def counting(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*words: Any) -> Any:
                nonlocal left
                results = []
                for step in (lambda: None, lambda: results.append(function(*words))):  # before it, and after it
                    step()
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    left -= 1
                return results[0]

            return call

        for name in ("write_bytes", "create_exclusive", "rename_folder"):
            setattr(storage, name, counting(getattr(storage, name)))
        try:
            preprocess_here(config)
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def without_marks(folder: Path) -> dict[str, bytes]:
    """Its contents; a mark of one who was killed stays until it expires."""
    return {name: content for name, content in contents(folder).items() if not name.startswith("in_use/")}


@pytest.mark.faults
def test_killed_at_every_step_of_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after every file that is written: the next run gives the same manifest, and nothing is there twice."""
    data = DataConfig(shapes=ShapesConfig(num_train=4, num_val=1, height=64, width=64), rows_per_shard=2)
    config = RunConfig(name="test", data=data)
    monkeypatch.setenv("AUNET_STORE", str(tmp_path / "undisturbed"))
    preprocess_here(config)
    expected = contents(tmp_path / "undisturbed" / "prepared")
    kills, committed = 0, []
    for kills in itertools.count():
        store = tmp_path / str(kills)
        monkeypatch.setenv("AUNET_STORE", str(store))
        completed = run_until(config, kills)
        committed = list(store.rglob("manifest.json"))
        preprocess_here(config)
        assert without_marks(store / "prepared") == expected
        if completed:
            break
    files = len(expected) + 3
    assert len(committed) == 1 and kills == 2 * files, "scenes, marker, mark, shards, receipts, indexes, manifest"


@pytest.mark.faults
def test_a_run_killed_among_its_tasks_goes_on(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    shapes = ShapesConfig(num_train=30, num_val=2, height=64, width=64)
    config = RunConfig(name="test", data=DataConfig(shapes=shapes, rows_per_shard=1))
    monkeypatch.setenv("AUNET_STORE", str(tmp_path / "undisturbed"))
    preprocess(config)
    expected = contents(tmp_path / "undisturbed" / "prepared")

    program = (
        "from pipelines.settings.run_config import *; from pipelines.preprocess import preprocess;"
        f"preprocess(RunConfig(name='test', data=DataConfig(shapes={shapes!r}, rows_per_shard=1)))"
    )
    monkeypatch.setenv("AUNET_STORE", str(tmp_path / "disturbed"))
    environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, cwd=tmp_path, start_new_session=True)
    prepared = tmp_path / "disturbed" / "prepared"
    deadline = time.monotonic() + 300
    while not list(prepared.rglob("*.parquet")):
        assert process.poll() is None and time.monotonic() < deadline, "the run ended before it could be killed"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(prepared.rglob("manifest.json")), "killed too late"
    preprocess(config)
    after = without_marks(prepared)
    assert {name: content for name, content in after.items() if not name.endswith(".tmp")} == expected
