"""Four workers, two when a node is about to be taken away, three when there is room again: one run, same batches."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from pipelines.store.history import History
from tests.clusters import RAY, Nodes, nodes
from tests.commands import ROOT, TINY_RUN, command, environment, jobs

SETTINGS = {
    "train.batch_size": "12",
    "train.micro_batch_size": "1",
    "train.epochs": "60",
    "train.checkpoint_every": "5",
    "model.backbone.norm": "gn",
    "train.precision": "fp32",
    "train.optimizer": "sgd",
    "train.lr": "1e-5",
    "train.ema": "0.5",
}
"""Twelve micro-batches a step, 60 steps. A step moves some weight by 1e-5, and sums in another order by a rounding,
2.4e-7 at the end; AdamW makes 2e-5 of that in two steps, and 9e-3 in sixty."""
TRAIN = [
    "train",
    "shapes_smoke",
    *TINY_RUN,
    *[word for name, value in SETTINGS.items() for word in (f"--{name}", value)],
]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Nodes]:
    """A head without work and two nodes with two CPUs each."""
    with nodes(AUNET_STORE=str(tmp_path / "store")) as cluster:
        cluster.start_head()
        cluster.start_worker("steady", 2)
        cluster.start_worker("leaving", 2)
        yield cluster


def drain(cluster: Nodes, name: str) -> None:
    """Announce that a node is taken away, as the autoscaler does for a spot node."""
    reach = {**os.environ, **cluster.reach}
    ids = "{node['NodeName']: node['NodeID'] for node in ray.nodes()}"
    code = f"import ray\nray.init('auto', log_to_driver=False)\nprint({ids}[{name!r}])"
    asked = subprocess.run([sys.executable, "-c", code], env=reach, capture_output=True, text=True, check=True)
    node = asked.stdout.split()[-1]
    words = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
    words += ["--deadline-remaining-seconds", "120"]
    subprocess.run([RAY, "drain-node", "--node-id", node, *words], env=reach, check=True, capture_output=True)


def events(store: Path) -> list[dict[str, Any]]:
    runs = list(store.glob("runs/*"))
    return History(str(runs[0])).events() if runs else []


def wait_for(
    store: Path, process: subprocess.Popen[bytes], happened: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    end = time.monotonic() + 300
    while not (hits := [event for event in events(store) if happened(event)]):
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.5)
    return hits[-1]


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_a_run_that_shrinks_and_grows(cluster: Nodes, tmp_path: Path) -> None:
    undisturbed, store = tmp_path / "undisturbed", tmp_path / "store"
    jobs(undisturbed, *TRAIN, "--train.num_workers", "1")
    for folder in ("raw", "prepared"):
        shutil.copytree(undisturbed / folder, store / folder)

    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            command(*TRAIN, "--train.num_workers", "1", "4"),
            cwd=ROOT,
            env=environment(store, cluster.reach),
            stdout=log,
            stderr=log,
        )
    try:
        assert wait_for(store, process, lambda event: event["kind"] == "start")["workers"] == 4
        wait_for(store, process, lambda event: event["kind"] == "checkpoint")
        drain(cluster, "leaving")
        shrunk = wait_for(store, process, lambda event: event.get("workers") == 2)
        assert re.search(r"the node of rank \d, \d is about to be taken away; resuming from step", shrunk["text"])
        assert shrunk["recomputed"] == 0
        cluster.kill("leaving", missing_ok=True)
        cluster.start_worker("new", 1)
        grown = wait_for(store, process, lambda event: event.get("workers") == 3)
        assert grown["recomputed"] == 0 and "there is room for 3 workers instead of 2" in grown["text"]
        assert process.wait(400) == 0, (tmp_path / "log").read_text()[-3000:]
    finally:
        process.kill()

    (one,), (other,) = undisturbed.glob("runs/*"), store.glob("runs/*")
    assert one.name == other.name, "the number of workers is no part of a run's name"
    steps = [json.loads(line) for line in (other / "events.jsonl").read_text().splitlines()]
    assert [event["step"] for event in steps if event["kind"] == "step"] == [*range(10, 61, 10)]
    weights, others = load_file(one / "model/model.safetensors"), load_file(other / "model/model.safetensors")
    apart = max(float((weights[name] - others[name]).abs().max()) for name in weights)
    print(f"largest difference of two weights: {apart:.2g}")
    assert apart < 1e-6
