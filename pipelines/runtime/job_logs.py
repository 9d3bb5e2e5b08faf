"""The logs of this job from all nodes that are alive: of its driver and its workers, as Ray keeps them on each node."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

MAX_FILE, MAX_NODE = 2**20, 16 * 2**20
"""Bytes: of each log its end, and of a node the newest logs."""
ANY_JOB, HEAD = "ffffffff", 2**16
"""Ray's id of no job, and bytes of a log in which it says which one it was for then."""
NODE_SECONDS = 30.0
"""How long the nodes may take, all together."""


def collect_logs() -> dict[str, bytes]:
    """The ends of the logs, by `<node>/<file name>`; none where this process is not connected to Ray.

    Nodes that do not answer in time are left out.
    """
    if not ray.is_initialized():
        return {}
    context = ray.get_runtime_context()
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    read: Any = ray.remote(num_cpus=0, max_retries=0)(read_logs)
    answers = {
        read.options(scheduling_strategy=NodeAffinitySchedulingStrategy(id, soft=False)).remote(
            context.get_job_id(), submission_id()
        ): f"{address}-{id[:6]}"
        for id, address in nodes.items()
    }
    ready, _ = ray.wait(list(answers), num_returns=len(answers), timeout=NODE_SECONDS)
    logs: dict[str, bytes] = {}
    for answer in ready:
        with contextlib.suppress(Exception):  # a node that has just gone
            logs |= {f"{answers[answer]}/{name}": content for name, content in ray.get(answer).items()}
    return dict(sorted(logs.items()))


def submission_id() -> str:
    """Id under which Ray's job server runs this process; empty: it does not."""
    try:
        return str(json.loads(os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"])["metadata"]["job_submission_id"])
    except (KeyError, TypeError, ValueError):
        return ""


def read_logs(job_id: str, submission: str, folder: Path | None = None) -> dict[str, bytes]:
    """The ends of a job's logs on this node that are not empty, by file name.

    Args:
        job_id: Ray's, in hex, of the workers.
        submission: of the driver; empty: it has no log of its own.
        folder: None: that of this node's logs.
    """
    folder = folder or Path(sys.modules["ray._private.worker"]._global_node.get_logs_dir_path())
    paths = [path for path in folder.glob("worker-*-*-*") if path.suffix in (".out", ".err") and _is_of(path, job_id)]
    paths += [folder / f"job-driver-{submission}.log"] * bool(submission)
    logs, size = {}, 0
    for path in sorted((path for path in paths if path.is_file()), key=_modified, reverse=True):
        with contextlib.suppress(OSError), path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MAX_FILE))
            content = file.read(MAX_FILE)
            size += len(content)
            if content and size <= MAX_NODE:
                logs[path.name] = content
    return logs


def _is_of(path: Path, job_id: str) -> bool:
    """Whether a log is of a job: by its name, or, where its worker was started for any job, by its first lines."""
    if f"-{job_id}-" in path.name:
        return True
    try:
        with path.open("rb") as file:
            return f"-{ANY_JOB}-" in path.name and f":job_id:{job_id}\n".encode() in file.read(HEAD)
    except OSError:
        return False


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
