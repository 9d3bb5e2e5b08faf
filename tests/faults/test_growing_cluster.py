"""A cluster whose workers start from none: jobs have it grow, lose a node, go on, and leave it to shrink."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clusters import Nodes, free_port, nodes
from tests.commands import ROOT, TINY_RUN, MainJob, command, environment, jobs, weights_hash

RUN = [
    *("run", "shapes_smoke", *TINY_RUN, "--train.num_workers", "2"),
    *("--train.epochs", "80", "--train.checkpoint_every", "4"),  # so long that it is not over before its node is lost
]
STUDY = [
    *("tune", "shapes_smoke", *TINY_RUN, "--train.warmup_steps", "1", "--tune.num_trials", "5"),
    *("--tune.epochs", "2", "--tune.reduction", "2", "--tune.confirm_seeds", "0"),
]
MOST_WORKERS = 2

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Nodes]:
    """A head with a job server, and no worker yet."""
    port, agent = free_port(), free_port()
    server = ["--include-dashboard=true", f"--dashboard-port={port}", f"--dashboard-agent-listen-port={agent}"]
    with nodes(AUNET_STORE=str(tmp_path / "store")) as cluster:
        cluster.start_growing_head(MOST_WORKERS, *server)
        assert cluster.workers() == []
        cluster.reach["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{port}"
        yield cluster


def wait_until(true: Callable[[], object], process: subprocess.Popen[bytes] | None, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert process is None or process.poll() is None, (
            f"the run ended with {process.poll()} before it could lose one"
        )
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def submit_and_lose_a_node(cluster: Nodes, store: Path, log: Path) -> None:
    words = ["submit", *RUN, "--target", "ray", "--wait"]
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command(*words), cwd=ROOT, env=environment(store, cluster.reach), stdout=file, stderr=file
        )
    try:
        wait_until(lambda: len(list(store.glob("runs/*/checkpoints/*/sha256.json"))) >= 2, process)
        assert len(cluster.workers()) == MOST_WORKERS
        os.kill(cluster.workers()[0], signal.SIGKILL)
        assert process.wait(400) == 0, log.read_text()[-3000:]
    finally:
        process.kill()


def test_a_submitted_run_grows_the_cluster_loses_a_node_and_goes_on(cluster: Nodes, tmp_path: Path) -> None:
    store, more = tmp_path / "store", cluster.reach
    planned, _ = jobs(store, "plan", *RUN[1:], more=more)
    assert (planned["refused"], planned["resources"]["grows"]) == ([], True)
    assert any("has 0 GPUs and 0 CPUs and would have to grow to 2 CPUs" in note for note in planned["notes"])
    assert cluster.workers() == []  # a plan asks for nothing
    value = RUN.index("--train.num_workers") + 1
    _, text = jobs(store, *RUN[:value], "4", *RUN[value + 1 :], rc=2, more=more)
    assert "train.num_workers = 4 with one CPU each, but the cluster has" in text
    wait_until(lambda: cluster.workers() == [], None)
    submit_and_lose_a_node(cluster, store, tmp_path / "log")
    log = (tmp_path / "log").read_text()
    assert "waiting for the cluster to grow" in log, log[-3000:]
    assert "; resuming from step " in log, log[-3000:]
    sent = json.loads(log.splitlines()[-1])
    assert '"PQ"' in log and sent["status"] == "SUCCEEDED"
    wait_until(lambda: cluster.workers() == [], None)
    cluster.stop()
    ended, kept = jobs(store, "job", "--id", sent["submission_id"], "--target", "ray", "--logs", more=more)
    assert (ended["status"], ended["job_exit_code"]) == ("SUCCEEDED", 0) and "what follows is from the store" in kept


def test_the_same_model_comes_out_and_a_stopped_job_gives_its_machines_back(
    cluster: Nodes, tmp_path: Path, main_job: MainJob
) -> None:
    store, more = tmp_path / "store", cluster.reach
    submit = ["submit", "run", "shapes_smoke", *TINY_RUN, "--target", "ray"]
    ended, _ = jobs(store, *submit, "--wait", more=more)
    assert ended["status"] == "SUCCEEDED" and weights_hash(store) == weights_hash(main_job.store)
    wait_until(lambda: cluster.workers() == [], None)
    sent, _ = jobs(store, *submit, "--train.epochs", "2000", more=more)
    wait_until(lambda: len(list(store.glob("runs/*/checkpoints/*/sha256.json"))) > 4, None)
    assert cluster.workers() != []
    stopped, _ = jobs(store, "job", "--id", sent["submission_id"], "--target", "ray", "--stop", more=more)
    assert stopped["status"] == "STOPPED"
    wait_until(lambda: cluster.workers() == [], None)


def test_a_search_with_more_trials_than_fit_grows_the_cluster_and_ends_all(cluster: Nodes, tmp_path: Path) -> None:
    store = tmp_path / "store"
    result, log = jobs(store, *STUDY, more=cluster.reach)
    assert "waiting for the cluster to grow: 5 CPUs" not in log  # it never becomes so large
    assert "waiting for the cluster to grow: 2 CPUs" in log, log[-3000:]
    trials = json.loads(Path(result["study_uri"], "study.json").read_text())["trials"]
    assert result["trials"] == 5 and {trial["state"] for trial in trials} <= {"finished", "stopped"}
    wait_until(lambda: cluster.workers() == [], None)
