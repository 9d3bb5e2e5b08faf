"""A run that is killed takes up where it was, and ends with the weights of one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.commands import ROOT, TINY_RUN, command, environment, jobs


def weights_hash(store: Path) -> str:
    (hashes,) = store.glob("runs/*/model/sha256.json")
    return json.loads(hashes.read_text())["model.safetensors"]


def wait_for(condition, process: subprocess.Popen[bytes], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < end, "the condition never came"
        time.sleep(0.05)


@pytest.mark.faults
def test_killed_driver_same_weights(tmp_path: Path) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    words = ["train", "shapes_smoke", *TINY_RUN]
    jobs(alone, *words)

    process = subprocess.Popen(
        command(*words), cwd=ROOT, env=environment(killed), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: list(killed.glob("runs/*/checkpoint_manager_snapshot.json")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(killed.glob("runs/*/run.json"))

    result, _ = jobs(killed, *words)
    steps = [json.loads(line)["step"] for line in next(killed.glob("runs/*/events.jsonl")).read_text().splitlines()]
    assert steps == [10, 12]
    assert result["steps"] == 12
    assert weights_hash(killed) == weights_hash(alone)
