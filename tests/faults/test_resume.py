"""A run that loses a worker, a node and its driver resumes each time, and ends with the weights of one left alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.training.attempt import ALONE
from tests.clusters import Nodes, nodes
from tests.commands import LOGGED_STEPS, ROOT, TINY_RUN, MainJob, command, environment, jobs, processes, weights_hash

TRAIN = ["train", "shapes_smoke", *TINY_RUN]


def logged_steps(store: Path) -> list[int]:
    (events,) = store.glob("runs/*/events.jsonl")
    return [event["step"] for event in map(json.loads, events.read_text().splitlines()) if event["kind"] == "step"]


def checkpoints(store: Path) -> set[Path]:
    return set(store.glob("runs/*/checkpoints/*/sha256.json"))


def wait_for_checkpoint(store: Path, process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    """Until there is a checkpoint that is not there now."""
    before, end = checkpoints(store), time.monotonic() + seconds
    while not checkpoints(store) - before:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < end, "no checkpoint came"
        time.sleep(0.05)


def training_workers(store: Path) -> list[int]:
    """Processes of the run that writes to `store` and trains."""
    return processes(store, "RayTrainWorker", ALONE)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Nodes]:
    """A head without work and two nodes with a CPU each; their processes know the store."""
    with nodes(AUNET_STORE=str(tmp_path / "store")) as cluster:
        cluster.start_head()
        cluster.start_worker("steady")
        cluster.start_worker("doomed")
        yield cluster


@pytest.mark.faults
def test_a_lost_worker_a_lost_node_and_a_lost_driver_change_nothing(
    main_job: MainJob, cluster: Nodes, tmp_path: Path
) -> None:
    undisturbed, store = main_job.store, tmp_path / "store"
    for folder in ("raw", "prepared"):
        shutil.copytree(undisturbed / folder, store / folder)

    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            command(*TRAIN),
            cwd=ROOT,
            env=environment(store, cluster.reach),
            start_new_session=True,
            stdout=log,
            stderr=log,
        )
    wait_for_checkpoint(store, process)
    os.kill(training_workers(store)[0], signal.SIGKILL)
    wait_for_checkpoint(store, process)
    cluster.kill("doomed")  # at once: few steps are left
    before = set(training_workers(store))  # no others can start, until there is room again
    cluster.start_worker("replacement")
    while not set(training_workers(store)) - before:  # as soon as others train: the steps that are left take a moment
        assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(store.glob("runs/*/run.json")), (tmp_path / "log").read_text()[-3000:]

    jobs(store, *TRAIN, more=cluster.reach)
    assert logged_steps(store) == logged_steps(undisturbed) == LOGGED_STEPS
    assert weights_hash(store) == weights_hash(undisturbed)


@pytest.mark.faults
def test_machines_that_nobody_gives_back_are_freed(main_job: MainJob, cluster: Nodes, tmp_path: Path) -> None:
    """Ray keeps the placement group of workers whose controller was killed together with the helper that watches it."""
    undisturbed, store = main_job.store, tmp_path / "store"
    for folder in ("raw", "prepared"):
        shutil.copytree(undisturbed / folder, store / folder)
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            command(*TRAIN), cwd=ROOT, env=environment(store, cluster.reach), stdout=log, stderr=log
        )
    try:
        wait_for_checkpoint(store, process)
        for title in ("PlacementGroupCleaner", "TrainController"):
            pids = processes(store, title)
            assert pids, f"no process is called {title}"
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        assert process.wait(300) == 0, (tmp_path / "log").read_text()[-3000:]
    finally:
        process.kill()
    assert weights_hash(store) == weights_hash(undisturbed)
