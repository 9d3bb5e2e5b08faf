"""The driver of a run in a process of its own, which can be killed."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

import ray

from pipelines.runtime.events import Event
from pipelines.runtime.interruption import RESUME, Preempted
from pipelines.runtime.nodes import end_process
from pipelines.settings.run_config import RunConfig
from pipelines.store.artifacts import PreparedData
from pipelines.training.driver import train_run


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A run of a proof."""

    config: RunConfig
    prepared: PreparedData
    environment: Mapping[str, str]
    """Of its driver: the run has a store and a tracking database of its own."""
    audit_uri: str


class DriverProcess:
    """The process that drives a run; as `train` does, it ends with 0, or with 75 after SIGTERM."""

    def __init__(self, task: Task) -> None:
        spawn = get_context("spawn")
        self.control, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_drive, args=(task, theirs), name=f"driver of {task.config.name}")
        self.process.start()
        theirs.close()
        self.warnings: list[str] = []
        """What the driver said of what went wrong, so far."""

    @property
    def exit_code(self) -> int | None:
        """How it ended; None: it goes on."""
        return self.process.exitcode

    def listen(self) -> list[str]:
        """Read what it has said since the last call; all of its warnings so far."""
        try:
            while self.control.poll():
                self.warnings.append(self.control.recv())
        except (EOFError, OSError):  # it has ended
            pass
        return self.warnings

    def kill_worker(self, pid: int, host: str) -> None:
        """Kill a worker on any machine of the cluster."""
        self.control.send((pid, host))

    def end(self, signal_number: int, seconds: float) -> int | None:
        """Send a signal and wait; its exit code, None where it goes on."""
        if self.process.pid and self.process.is_alive():
            os.kill(self.process.pid, signal_number)
        self.process.join(seconds)
        return self.process.exitcode

    def close(self) -> None:
        """End it in any case."""
        self.process.kill()
        self.process.join()
        self.control.close()


def _drive(task: Task, control: Connection) -> None:
    """What the process does."""
    os.environ.update(task.environment)
    threading.Thread(target=_obey, args=(control,), daemon=True).start()

    def say(event: Event) -> None:
        if event["kind"] == "warning":
            control.send(event["text"])

    try:
        train_run(task.config, task.prepared, listeners=[say], audit_uri=task.audit_uri)
    except Preempted:
        sys.exit(RESUME)
    except Exception:  # noqa: BLE001 - the process that waits for this one reports the exit code
        traceback.print_exc()
        sys.exit(1)


def _obey(control: Connection) -> None:
    """Kill the workers that are named."""
    while True:
        try:
            pid, host = control.recv()
        except (EOFError, OSError):
            return
        for node in ray.nodes():
            if node["Alive"] and node["NodeManagerHostname"] == host:
                end_process(pid, node["NodeID"])
