"""A run that is killed takes up where it was, and ends with the weights of one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import ROOT, TINY_RUN, command, environment, jobs

TRAIN = ["train", "shapes_smoke", *TINY_RUN, "--train.epochs", "8"]
"""24 steps, a checkpoint every 3."""


def weights_hash(store: Path) -> str:
    (hashes,) = store.glob("runs/*/model/sha256.json")
    return json.loads(hashes.read_text())["model.safetensors"]


def logged_steps(store: Path) -> list[int]:
    (events,) = store.glob("runs/*/events.jsonl")
    return [json.loads(line)["step"] for line in events.read_text().splitlines()]


def start(store: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(*TRAIN), cwd=ROOT, env=environment(store), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def wait_for_checkpoint(store: Path, process: subprocess.Popen[bytes], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not list(store.glob("runs/*/checkpoint_manager_snapshot.json")):
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


def kill_driver(store: Path, process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(store.glob("runs/*/run.json"))
    jobs(store, *TRAIN)


def kill_worker(store: Path, process: subprocess.Popen[bytes]) -> None:
    os.kill(training_workers(store)[0], signal.SIGKILL)
    assert process.wait(timeout=300) == 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("undisturbed") / "store"
    jobs(store, *TRAIN)
    return store


@pytest.mark.faults
@pytest.mark.parametrize("strike", [kill_driver, kill_worker])
def test_same_weights_in_the_end(
    strike: Callable[[Path, subprocess.Popen[bytes]], None], undisturbed: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    process = start(store)
    wait_for_checkpoint(store, process)
    strike(store, process)
    assert logged_steps(store) == logged_steps(undisturbed) == [10, 20, 24]
    assert weights_hash(store) == weights_hash(undisturbed)
