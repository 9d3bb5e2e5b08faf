"""A cluster whose workers start from none: the main job has it grow, loses a node, goes on, and leaves it to shrink."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clusters import Nodes, nodes
from tests.commands import ROOT, TINY_RUN, command, environment, jobs

RUN = ["run", "shapes_smoke", *TINY_RUN, "--train.num_workers", "2", "--train.epochs", "12"]


def wait_until(true: Callable[[], object], process: subprocess.Popen[bytes] | None, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert process is None or process.poll() is None, (
            f"the run ended with {process.poll()} before it could lose one"
        )
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def run_and_lose_a_node(cluster: Nodes, store: Path, log: Path) -> None:
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command(*RUN), cwd=ROOT, env=environment(store, cluster.reach), stdout=file, stderr=file
        )
    try:
        wait_until(lambda: len(list(store.glob("runs/*/checkpoints/*/sha256.json"))) >= 2, process)
        assert len(cluster.workers()) == 2
        os.kill(cluster.workers()[0], signal.SIGKILL)
        assert process.wait(400) == 0
    finally:
        process.kill()


@pytest.mark.slow
def test_a_run_grows_the_cluster_loses_a_node_and_goes_on(tmp_path: Path) -> None:
    store, session = tmp_path / "store", Path(tempfile.mkdtemp(prefix="ray-"))
    try:
        with nodes(session, AUNET_STORE=str(store)) as cluster:
            cluster.start_growing_head(2)
            assert cluster.workers() == []
            _, text = jobs(store, *RUN, "--train.num_workers", "4", rc=2, more=cluster.reach)
            assert "train.num_workers = 4 with one CPU each, but the cluster has" in text
            wait_until(lambda: cluster.workers() == [], None)
            run_and_lose_a_node(cluster, store, tmp_path / "log")
            log = (tmp_path / "log").read_text()
            assert "waiting for the cluster to grow" in log, log[-3000:]
            assert "; resuming from step " in log, log[-3000:]
            assert '"PQ"' in log.splitlines()[-1]
            wait_until(lambda: cluster.workers() == [], None)
    finally:
        shutil.rmtree(session, ignore_errors=True)
