"""The same small job on three targets: are the weights the same, bit for bit?

    python benchmarks/same_model.py

`submit run shapes_smoke` with a tiny network, as a process of this machine, as a job of a Ray cluster with token
authentication that is started for it, and as a Kubeflow pipeline in kfp's local runner, each with its own store.
Prints a table of the SHA-256 of the weights; exit code 1 if they differ.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.clusters import free_port, nodes
from tests.commands import TINY_RUN, jobs, weights_hash

RUN = ["submit", "run", "shapes_smoke", *TINY_RUN]


def on_this_machine(store: Path) -> None:
    jobs(store, *RUN, "--target", "local", "--wait")


def on_a_ray_cluster(store: Path) -> None:
    port = str(free_port())
    with nodes() as cluster:
        cluster.start_head("--num-cpus=2", "--include-dashboard=true", f"--dashboard-port={port}")
        reach = {**cluster.reach, "RAY_ADDRESS": f"http://127.0.0.1:{port}"}
        jobs(store, *RUN, "--target", "ray", "--wait", more=reach)


def in_a_kubeflow_pipeline(store: Path) -> None:
    jobs(store, *RUN, "--target", "kubeflow", more={"KF_PIPELINES_ENDPOINT": "local"})


def main() -> int:
    hashes = set()
    print(f"{'target':22} {'seconds':>7}  SHA-256 of model.safetensors")
    for train in (on_this_machine, on_a_ray_cluster, in_a_kubeflow_pipeline):
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            train(Path(folder))
            took, digest = time.monotonic() - started, weights_hash(Path(folder))
        hashes.add(digest)
        print(f"{train.__name__.replace('_', ' '):22} {took:7.0f}  {digest}", flush=True)
    print("the same model everywhere" if len(hashes) == 1 else "different models")
    return int(len(hashes) != 1)


if __name__ == "__main__":
    os.environ.pop("RAY_ADDRESS", None)
    sys.exit(main())
