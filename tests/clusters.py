"""Ray clusters of several nodes on this machine, as processes that can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HEAD_ID = "f" * 51 + "00000"
"""As Ray's own stand-in for a provider of machines names the head."""
LISTS = (
    *("setup_commands", "head_setup_commands", "worker_setup_commands", "initialization_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter"),
)
"""What a cluster.yaml must have, and none of these clusters needs."""
ROOT = Path(__file__).parents[1]
RAY = str(Path(sys.executable).with_name("ray"))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Nodes:
    """A head and its workers with token authentication; `reach` is the environment of those who may connect."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.port = folder, free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.reach = {"RAY_ADDRESS": self.address, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.environment = {**os.environ, **environment, **self.reach}

    def start_head(self, *options: str) -> None:
        """A head without work: zero CPUs, no dashboard unless `options` ask for one."""
        self._start("head", f"--port={self.port}", "--head", "--num-cpus=0", f"--temp-dir={self.folder}", *options)

    def start_growing_head(self, most_workers: int, *options: str, idle_seconds: float = 15) -> None:
        """A head without work, whose autoscaler starts and ends workers with one CPU, from none to `most_workers`.

        Ray's own `AutoscalingCluster` would need a file that its wheel does not hold, and ends with `ray stop`, which
        stops every Ray of the machine.
        """
        config = {
            **{key: [] for key in LISTS},
            "cluster_name": "growing",
            "max_workers": most_workers,
            "idle_timeout_minutes": idle_seconds / 60,
            "upscaling_speed": 1.0,
            "provider": {
                "type": "external",
                "module": "tests.growing_nodes.ApartNodes",
                "gcs_address": self.address,
                "launch_multiple": True,
                "head_node_id": HEAD_ID,
            },
            "available_node_types": {
                "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
                "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": most_workers},
            },
            "head_node_type": "ray.head.default",
            "auth": {},
            "docker": {},
            "file_mounts": {},
        }
        (self.folder / "cluster.json").write_text(json.dumps(config))
        self.environment |= {
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        self.start_head(f"--autoscaling-config={self.folder / 'cluster.json'}", *options)

    def workers(self) -> list[int]:
        """Processes of the nodes besides the head."""
        return [
            pid
            for pid, line in self._processes()
            if "raylet/raylet" in line and "--node-name=head" not in line and "--head" not in line.split()
        ]

    def start_worker(self, name: str, num_cpus: int = 1) -> None:
        """One more node."""
        self._start(name, f"--address={self.address}", f"--num-cpus={num_cpus}")

    def kill(self, name: str, *, missing_ok: bool = False) -> None:
        """End a node at once, with all that runs on it.

        Args:
            missing_ok: it may have ended by itself, as one that is drained does once nothing runs on it.
        """
        raylets = [pid for pid, line in self._processes() if "raylet/raylet" in line and f"--node-name={name}" in line]
        if missing_ok and not raylets:
            return
        (raylet,) = raylets
        children = list[int]()
        for path in Path(f"/proc/{raylet}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # a thread that has just ended
                children += map(int, path.read_text().split())
        for pid in (raylet, *children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End everything, in whatever state."""
        for _ in range(50):
            left = [pid for pid, _ in self._processes()]
            if not left:
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)

    def _start(self, name: str, *options: str) -> None:
        fixed = [
            "--node-ip-address=127.0.0.1",
            "--object-store-memory=200000000",
            "--disable-usage-stats",
            "--include-log-monitor=false",
        ]
        command = [RAY, "start", *options, f"--node-name={name}", *fixed]
        if "--include-dashboard=true" not in options and "--head" in options:
            command.append("--include-dashboard=false")
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]

    def _processes(self) -> list[tuple[int, str]]:
        """Processes of this cluster and their command lines: they name its folder or its address."""
        processes = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if (str(self.folder) in line or self.address in line) and "ray" in line:
                    processes.append((int(file.parent.name), line))
        return processes


@contextlib.contextmanager
def nodes(**environment: str) -> Iterator[Nodes]:
    """A cluster without nodes yet, whose session's folder goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # sockets want a short path
    cluster = Nodes(folder, environment)
    try:
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def job_server() -> Iterator[dict[str, str]]:
    """A cluster of one node with a job server; gives the environment in which it can be reached."""
    port, agent = free_port(), free_port()
    options = ["--include-dashboard=true", f"--dashboard-port={port}", f"--dashboard-agent-listen-port={agent}"]
    with nodes() as cluster:
        try:
            cluster.start_head("--num-cpus=3", *options)
        except AssertionError:  # Ray gives a node 30 s; the second attempt finds everything in memory
            cluster.stop()
            cluster.start_head("--num-cpus=3", *options)
        yield {**cluster.reach, "RAY_ADDRESS": f"http://127.0.0.1:{port}"}
