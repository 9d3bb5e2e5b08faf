"""A real MLflow server, and a proxy before it with moods: down, failing, slow, losing its answers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.fault_proxy import FaultProxy, running

MOODS = {
    "well": ("passed", True),
    "down": ("reset", False),
    "500": ("500", False),
    "slow": ("stall", True),
    "lost": ("reset", True),
}
"""What becomes of every request, and whether it arrives."""


@contextlib.contextmanager
def mlflow_server(folder: Path, seconds: float = 180) -> Iterator[str]:
    """Address of a server with its database and artifacts in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/server.db",
        "--artifacts-destination",
        f"{folder}/artifacts",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + seconds
        while not _is_up(address):
            assert server.poll() is None and time.monotonic() < deadline, (folder / "server.log").read_text()[-3000:]
            time.sleep(0.5)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _is_up(address: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
        return answer.status == 200
    return False


class MoodyProxy(FaultProxy):
    """A proxy whose `mood` is one of `MOODS`."""

    mood = "well"
    lose_once = ""
    """End of a path: the answer to one such request is lost."""

    def draw(self, method: str, path: str) -> tuple[str, bool]:
        kind, arrives = MOODS[self.mood]
        if self.lose_once and path.endswith(self.lose_once):
            self.lose_once, (kind, arrives) = "", MOODS["lost"]
        self.seen[kind] += 1
        return kind, arrives


@contextlib.contextmanager
def moody(upstream: str, stall: float) -> Iterator[MoodyProxy]:
    """A proxy before a server, until the block ends."""
    with running(MoodyProxy(upstream, 0, stall=stall)) as proxy:
        yield proxy
