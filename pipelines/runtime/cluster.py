"""One way to reach Ray: an existing session, the cluster that RAY_ADDRESS names, or a quiet local one."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from aunet.errors import InputError, Unavailable
from pipelines.runtime.nvidia_smi import nvidia_smi
from pipelines.runtime.starting import START_SECONDS, check_temporary_folder, is_slow, start_patiently
from pipelines.settings.run_config import FeedConfig, TrainConfig

GIVEN = "AUNET_GIVEN"
"""In a pod: the names of the variables that its manifest carries. All others are the Secret's, and travel no further:
the pods that a step or a tick starts get them from the same Secret."""
REACH_SECONDS = 5.0
"""A machine that needs longer to accept a connection counts as unreachable."""
NAMED_ADDRESSES = ("auto", "local")
"""Addresses that are words of Ray's own: the cluster of this machine, and a new one."""
FORMS = "use HOST:6379 or ray://HOST:10001 for a cluster, http://HOST:8265 for its job server, or unset it"


def connect(num_cpus: int | None = None) -> None:
    """Make sure that Ray runs; does nothing when this process is already connected.

    Args:
        num_cpus: logical CPUs of a local Ray that is started here; None: the machine's, at least two.

    Raises:
        InputError: RAY_ADDRESS names a job server, or nothing that Ray knows; the temporary folder's path is too long.
        Unavailable: the cluster that RAY_ADDRESS names does not answer, or a local Ray does not start.
    """
    import ray  # takes 0.7 s, and counting the CPUs of this machine needs none

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        return
    root = str(Path(__file__).resolve().parents[2])
    inherited = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != root]
    code_here = {"PYTHONPATH": os.pathsep.join([root, *inherited])}
    if address := ray_address():
        join(address, code_here, ray.init)
        if not address.startswith("ray://"):  # a client cannot ask for what others hold
            from pipelines.runtime.nodes import free_orphans

            free_orphans()
        return
    check_temporary_folder(os.environ)
    # Ray's processes inherit these; a runtime_env would start each of them twice.
    os.environ |= code_here
    for name in ("RAY_raylet_start_wait_time_s", "RAY_gcs_server_port_wait_time_s"):
        os.environ.setdefault(name, str(START_SECONDS))
    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    start_patiently(lambda: ray.init(num_cpus=num_cpus or _num_cpus(), **options))


def join(address: str, code_here: dict[str, str], init: Callable[..., object]) -> None:
    """Connect to a running cluster.

    Args:
        code_here: environment variables by which its processes find the code.
        init: `ray.init`.

    Raises:
        InputError: the address is that of a job server.
        Unavailable: the cluster does not answer.
    """
    check_address(address)
    if is_job_server(address):
        raise InputError(
            f"RAY_ADDRESS = {address} is a job server: send it a job, `submit … --target ray`, or unset it"
        )
    is_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ  # then the code came with the submission
    runtime_env = None if is_job else {"env_vars": code_here}
    try:
        init(address=address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=runtime_env)
    except Exception as error:
        if not (isinstance(error, ConnectionError) or is_slow(error)):
            raise
        reason = " ".join(str(error).split())[:300]
        raise Unavailable(f"RAY_ADDRESS = {address}: {reason}; start the cluster, or correct RAY_ADDRESS") from error


def ray_address() -> str | None:
    """RAY_ADDRESS, in a form that holds a host, a port and nothing secret; None: it is not set.

    Raises:
        InputError: it has another form; as it may hold credentials, it is not repeated.
    """
    address = os.environ.get("RAY_ADDRESS")
    if not address or address in NAMED_ADDRESSES:
        return address or None
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        is_server = re.fullmatch(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?", parts.netloc) is not None
        is_complete = is_job_server(address) or (parts.port is not None and parts.path in ("", "/"))
        known = is_server and is_complete and parts.scheme in ("", "ray", "http", "https")
        if known and not parts.query and not parts.fragment:
            return address
    except ValueError:
        pass
    raise InputError(f"RAY_ADDRESS: not the address of a Ray cluster (not shown, it may hold credentials); {FORMS}")


def is_job_server(address: str) -> bool:
    """Whether an address is that of a cluster's job server, which accepts jobs and nothing else."""
    return urlsplit(address).scheme in ("http", "https")


def is_in_pod() -> bool:
    """Whether this job has a cluster of its own on Kubernetes, as large as it needs, whose lost nodes come back."""
    return GIVEN in os.environ


def check_address(address: str) -> None:
    """Try the address of a Ray cluster, where it names a machine, for a few seconds; Ray itself would wait for long.

    Args:
        address: as `ray_address` returns it.

    Raises:
        Unavailable: nothing answers there.
    """
    parts = urlsplit(address if "//" in address else f"//{address}")
    if not (parts.hostname and parts.port):
        return
    try:
        socket.create_connection((parts.hostname, parts.port), REACH_SECONDS).close()
    except (OSError, UnicodeError) as error:  # a name that is too long for DNS
        cure = "start the cluster (`ray start --head`), correct it or unset RAY_ADDRESS"
        raise Unavailable(f"RAY_ADDRESS = {address}: {error}; {cure}") from None


def resources() -> dict[str, int]:
    """Logical CPUs and GPUs: of the session or cluster where there is one, else of a Ray started on this machine.

    Raises:
        InputError, Unavailable: as `connect`.
    """
    ray = sys.modules.get("ray")  # whoever has connected has imported it
    if not (ray and ray.is_initialized()) and not ray_address():
        return {"CPU": _num_cpus(), "GPU": _num_gpus()}
    connect()
    available = sys.modules["ray"].cluster_resources()
    return {kind: int(available.get(kind, 0)) for kind in ("CPU", "GPU")}


def gpus_of_this_node() -> int:
    """GPUs that Ray counts on this machine, where this process is connected; else 0."""
    ray = sys.modules.get("ray")
    if not (ray and ray.is_initialized()):
        return 0
    own = ray.get_runtime_context().get_node_id()
    return sum(int(node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"] and node["NodeID"] == own)


def needs(num_workers: int, use_gpu: bool, feed: FeedConfig) -> dict[str, int]:
    """Logical CPUs and GPUs that a training run holds at once: its workers, and the Ray tasks that decode for them.

    Workers that held all CPUs would wait for ever for tasks that wait for a CPU.
    """
    tasks = num_workers * feed.workers if feed.kind == "ray" else 0
    return {"GPU": num_workers, "CPU": tasks} if use_gpu else {"GPU": 0, "CPU": num_workers + tasks}


def possible_workers(train: TrainConfig, feed: FeedConfig, available: Mapping[str, float]) -> int:
    """With how many workers a training run can start, up to the number it asks for; 0: with too few.

    Args:
        available: as `resources` returns them.
    """
    kind = "GPU" if train.use_gpu else "CPU"
    for number in range(train.max_workers, train.min_workers - 1, -1):
        needed = needs(number, train.use_gpu, feed)
        needed[kind] += train.evaluate_every > 0 and train.validate == "beside"
        if all(needed[kind] <= int(available.get(kind, 0)) for kind in needed):
            return number
    return 0


def missing_workers(train: TrainConfig, feed: FeedConfig, available: Mapping[str, float]) -> str | None:
    """Why the workers of a training run would wait for ever, with the cure; None: they all start.

    Args:
        available: as `resources` returns them.
    """
    if possible_workers(train, feed, available):
        return None
    kind = "GPU" if train.use_gpu else "CPU"
    number, fewest = int(available.get(kind, 0)), train.min_workers
    if number < fewest:
        cures = [f"--train.num_workers {number}"] * (number > 0) + ["--train.use_gpu False"] * train.use_gpu
        return (
            f"train.num_workers = {train.num_workers} with one {kind} each, but the cluster has {number}; "
            f"use {' or '.join([*cures, 'a larger cluster'])}"
        )
    if train.evaluate_every and train.validate == "beside" and number == fewest:
        return (
            f"train.validate = 'beside' needs one {kind} besides those of train.num_workers = {train.num_workers}, but "
            f"the cluster has {number}; use --train.validate inline, fewer workers, or a larger cluster"
        )
    cpus, needed = int(available.get("CPU", 0)), needs(fewest, train.use_gpu, feed)["CPU"]
    own = "" if train.use_gpu else f"{fewest} workers with one CPU each + "
    return (
        f"feed.kind = 'ray' with feed.workers = {feed.workers}: {own}{fewest} × {feed.workers} decoding "
        f"tasks with one CPU each = {needed} CPUs, but the cluster has {cpus}; use --feed.kind torch, fewer "
        "workers, or a larger cluster"
    )


def _num_cpus() -> int:
    return max(2, os.cpu_count() or 1)


def _num_gpus() -> int:
    """NVIDIA GPUs that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    listed = nvidia_smi("-L")
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines()) if listed else 0
