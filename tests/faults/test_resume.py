"""A run that is killed takes up where it was, and ends with the weights of one that was left alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.commands import ROOT, TINY_RUN, command, environment, jobs, weights_hash

TRAIN = ["train", "shapes_smoke", *TINY_RUN]


def logged_steps(store: Path) -> list[int]:
    (events,) = store.glob("runs/*/events.jsonl")
    return [json.loads(line)["step"] for line in events.read_text().splitlines()]


def start(store: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(*TRAIN), cwd=ROOT, env=environment(store), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def checkpoints(store: Path) -> set[Path]:
    return set(store.glob("runs/*/checkpoint_*/sha256.json"))


def wait_for_checkpoint(store: Path, process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    """Until there is a checkpoint that is not there now."""
    before, end = checkpoints(store), time.monotonic() + seconds
    while not checkpoints(store) - before:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < end, "no checkpoint came"
        time.sleep(0.05)


def training_workers(store: Path) -> list[int]:
    """Processes of the run that writes to `store` and trains."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = f"AUNET_STORE={store}".encode() in (folder / "environ").read_bytes()
            if ours and b"RayTrainWorker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it ended meanwhile
            continue
    return found


@pytest.mark.faults
def test_a_lost_worker_and_a_lost_driver_change_nothing(
    main_job: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    undisturbed, store = main_job[0], tmp_path / "store"
    for folder in ("raw", "prepared"):
        shutil.copytree(undisturbed / folder, store / folder)

    process = start(store)
    wait_for_checkpoint(store, process)
    os.kill(training_workers(store)[0], signal.SIGKILL)
    wait_for_checkpoint(store, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(store.glob("runs/*/run.json"))

    jobs(store, *TRAIN)
    assert logged_steps(store) == logged_steps(undisturbed) == [10, 20, 24]
    assert weights_hash(store) == weights_hash(undisturbed)
