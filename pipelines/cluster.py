"""One way to reach Ray: an existing session, the cluster that RAY_ADDRESS names, or a quiet local one."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from aunet.errors import InputError
from pipelines.config import FeedConfig, TrainConfig

REACH_SECONDS = 5.0
"""A machine that takes longer to accept a connection counts as not there."""
LOCAL_ATTEMPTS = 3
"""Starts of a local Ray, which gives itself 30 seconds; a busy machine may need more."""


def connect(num_cpus: int | None = None) -> None:
    """Make sure that Ray runs; does nothing when this process is already connected.

    Args:
        num_cpus: logical CPUs of a local Ray that is started here; None: the machine's, at least two.

    Raises:
        InputError: RAY_ADDRESS names a machine that does not answer.
    """
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        return
    root = str(Path(__file__).resolve().parent.parent)
    inherited = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != root]
    code_here = {"PYTHONPATH": os.pathsep.join([root, *inherited])}
    address = os.environ.get("RAY_ADDRESS")
    if address:
        check_address(address)
        if is_job_server(address):
            raise InputError(
                f"RAY_ADDRESS = {address} is a job server: send it a job, `submit … --target ray`, or unset it"
            )
        is_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ  # then the submission has brought the code along
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env=None if is_job else {"env_vars": code_here},
        )
        return
    os.environ |= code_here  # Ray's processes inherit it; a runtime_env would start each of them twice
    for attempt in range(LOCAL_ATTEMPTS):
        try:
            ray.init(
                num_cpus=num_cpus or _num_cpus(),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
            return
        except Exception as error:
            if "timed out during startup" not in str(error) or attempt == LOCAL_ATTEMPTS - 1:
                raise
            ray.shutdown()


def is_job_server(address: str) -> bool:
    """Whether an address is that of a cluster's job server, which takes jobs and nothing else."""
    return address.startswith(("http://", "https://"))


def check_address(address: str) -> None:
    """Try the address of a Ray cluster, where it names a machine, for a few seconds; Ray itself would wait for long.

    Raises:
        InputError: nothing answers there.
    """
    host, _, port = address.rpartition("://")[2].rstrip("/").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
    except OSError as error:
        raise InputError(
            f"RAY_ADDRESS = {address}: {error}; start the cluster (`ray start --head`), correct it or unset RAY_ADDRESS"
        ) from None


def resources() -> dict[str, int]:
    """Logical CPUs and GPUs: of the session or cluster where there is one, else of a Ray started on this machine."""
    import sys

    ray = sys.modules.get("ray")
    if not (ray and ray.is_initialized()) and not os.environ.get("RAY_ADDRESS"):
        return {"CPU": _num_cpus(), "GPU": _num_gpus()}
    connect()
    import ray

    there = ray.cluster_resources()
    return {kind: int(there.get(kind, 0)) for kind in ("CPU", "GPU")}


def needs(num_workers: int, use_gpu: bool, feed: FeedConfig) -> dict[str, int]:
    """Logical CPUs and GPUs that a training run holds at once: its workers, and the Ray tasks that decode for them.

    Workers that held all CPUs would wait for ever for tasks that wait for a CPU.
    """
    tasks = num_workers * feed.workers if feed.kind == "ray" else 0
    return {"GPU": num_workers, "CPU": tasks} if use_gpu else {"GPU": 0, "CPU": num_workers + tasks}


def missing_workers(train: TrainConfig, feed: FeedConfig, there: Mapping[str, float]) -> str | None:
    """Why the workers of a training run would wait for ever, with the cure; None: they all start.

    Args:
        there: `resources`.
    """
    kind = "GPU" if train.use_gpu else "CPU"
    number = int(there.get(kind, 0))
    if number < train.num_workers:
        cure = " or --train.use_gpu False" if train.use_gpu else ""
        return (
            f"train.num_workers = {train.num_workers} with one {kind} each, but the cluster has {number}; "
            f"take --train.num_workers {max(number, 1)}{cure}, or a larger cluster"
        )
    cpus, needed = int(there.get("CPU", 0)), needs(train.num_workers, train.use_gpu, feed)["CPU"]
    if needed <= cpus:
        return None
    own = "" if train.use_gpu else f"{train.num_workers} workers with one CPU each + "
    return (
        f"feed.kind = 'ray' with feed.workers = {feed.workers}: {own}{train.num_workers} × {feed.workers} decoding "
        f"tasks with one CPU each = {needed} CPUs, but the cluster has {cpus}; take --feed.kind torch, fewer "
        "workers, or a larger cluster"
    )


def _num_cpus() -> int:
    return max(2, os.cpu_count() or 1)


def _num_gpus() -> int:
    """NVIDIA GPUs that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False).stdout
    return listed.count("GPU ")
