"""Jobs on this machine: detached processes, each with a folder for its log, its pid and its exit code."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from pipelines.store import storage
from pipelines.store.layout import JobFolder, Store
from pipelines.targets.submission import State, Submission

ROOT = Path(__file__).resolve().parents[2]
WRAPPER = 'trap : TERM INT; "$@"; code=$?; echo $code > "$0.tmp" && mv "$0.tmp" "$0"'
"""Runs a command and leaves its exit code in a file, however the command ended."""
GRACE_SECONDS = 30.0
"""In which a stopped job may end by itself."""


class LocalJobs:
    """Jobs in the store; below the working directory's `store` when the store is no folder.

    A job holds a lock on its folder as long as one of its processes lives: that, not its pid, tells that it runs.

    Args:
        code: folder with the package `jobs`.
    """

    def __init__(self, code: Path = ROOT) -> None:
        self.store, self.code = Store.here(), code

    def render(self, submission: Submission) -> str:
        """The process that would be started."""
        process = {
            "command": submission.command(sys.executable),
            "cwd": os.getcwd(),
            "folder": str(self.store.job(submission.id).path),
            "env": {**submission.environment, **self._addresses()},
        }
        return yaml.safe_dump(process, sort_keys=False, width=1000)

    def state(self, id: str) -> State | None:
        """How the job stands."""
        job = self.store.job(id)
        if not job.path.is_dir():
            return None
        if _is_locked(job):
            return State("RUNNING", f"log {job.log}")
        ended = "STOPPED" if job.stopped.exists() else "FAILED"
        if not job.exit_code.exists():
            return State(ended, "killed: it left no exit code")
        code = int(job.exit_code.read_text())
        return State("SUCCEEDED", exit_code=0) if code == 0 else State(ended, f"log {job.log}", code)

    def send(self, submission: Submission) -> None:
        """Start the process, unless another submission has just done so."""
        job = self.store.job(submission.id)
        job.path.mkdir(parents=True, exist_ok=True)
        with _lock(job, patience=2.0) as held, open(job.log, "ab") as log:
            if held is None:
                return
            for file in (job.exit_code, job.stopped):
                file.unlink(missing_ok=True)
            command = [sys.executable, "-m", "jobs", *submission.words]
            start = log.tell()
            process = subprocess.Popen(
                ["sh", "-c", WRAPPER, str(job.exit_code), *command],
                env={**os.environ, **self._addresses(), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[held],
            )
            record = {"pid": process.pid, "command": command, "log_start": start}
            storage.write_bytes(str(job.record), json.dumps(record).encode())

    def follow(self, id: str) -> State:
        """Show the log until the process has ended."""
        with open(self.store.job(id).log, "rb") as log:
            log.seek(self._record(id)["log_start"])
            while True:
                state = self.state(id)
                assert state is not None
                sys.stderr.write(log.read().decode(errors="replace"))
                sys.stderr.flush()
                if state.ended:
                    return state
                time.sleep(0.2)

    def logs(self, id: str) -> str:
        """All that the job has printed, in every attempt."""
        return self.store.job(id).log.read_text(errors="replace")

    def stop(self, id: str) -> None:
        """Ask all processes of the job to end, then end them."""
        job, group = self.store.job(id), self._record(id)["pid"]
        job.stopped.touch()
        for kind in (signal.SIGTERM, signal.SIGKILL):
            if _is_locked(job):  # then the group is still the job's
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, kind)
            end = time.monotonic() + GRACE_SECONDS
            while _is_locked(job) and time.monotonic() < end:
                time.sleep(0.1)

    def _record(self, id: str) -> dict[str, int]:
        return json.loads(self.store.job(id).record.read_text())

    def _addresses(self) -> dict[str, str]:
        """The code and the store, named so that the working directory does not matter."""
        paths = [str(self.code), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"AUNET_STORE": storage.store_root(), "PYTHONPATH": os.pathsep.join(paths)}


@contextlib.contextmanager
def _lock(job: JobFolder, patience: float = 0.0) -> Iterator[int | None]:
    """A descriptor that holds the job's lock, for this process and those that inherit it; None: somebody has it.

    Args:
        patience: seconds in which those who only look may release it.
    """
    end = time.monotonic() + patience
    with open(job.lock, "wb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    yield None
                    return
                time.sleep(0.05)
        yield file.fileno()


def _is_locked(job: JobFolder) -> bool:
    with _lock(job) as held:
        return held is None
