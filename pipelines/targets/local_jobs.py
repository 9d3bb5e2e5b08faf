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

from pipelines import storage
from pipelines.targets.submission import State, Submission

ROOT = Path(__file__).resolve().parents[2]
WRAPPER = 'trap : TERM INT; "$@"; code=$?; echo $code > "$0.tmp" && mv "$0.tmp" "$0"'
"""Runs a command and leaves its exit code in a file, however the command ended."""
GRACE = 30.0
"""Seconds that a stopped job has to end by itself."""


class LocalJobs:
    """Jobs below `<store>/jobs`; below `store/jobs` of the working directory when the store is no folder.

    A job holds a lock on its folder as long as one of its processes lives: that, not its pid, says that it runs.
    """

    def __init__(self) -> None:
        store = storage.store_root()
        self.root = Path.cwd() / "store" / "jobs" if "://" in store else Path(store) / "jobs"

    def render(self, submission: Submission) -> str:
        """The process that would be started."""
        import yaml

        process = {
            "command": submission.command(sys.executable),
            "cwd": os.getcwd(),
            "folder": str(self.root / submission.id),
            "env": {**submission.environment, **self._places()},
        }
        return yaml.safe_dump(process, sort_keys=False, width=1000)

    def state(self, id: str) -> State | None:
        """How the job stands."""
        folder = self.root / id
        if not folder.is_dir():
            return None
        if _is_locked(folder):
            return State("RUNNING", f"log {folder / 'log'}")
        if not (folder / "exit_code").exists():
            ended = "STOPPED" if (folder / "stopped").exists() else "FAILED"
            return State(ended, "killed: it left no exit code")
        code = int((folder / "exit_code").read_text())
        if code == 0:
            return State("SUCCEEDED", exit_code=0)
        return State("STOPPED" if (folder / "stopped").exists() else "FAILED", f"log {folder / 'log'}", code)

    def send(self, submission: Submission) -> None:
        """Start the process, unless another submission has just done so."""
        folder = self.root / submission.id
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder, patience=2.0) as held, open(folder / "log", "ab") as log:
            if held is None:
                return
            for name in ("exit_code", "stopped"):
                (folder / name).unlink(missing_ok=True)
            command = [sys.executable, "-m", "jobs", *submission.words]
            start = log.tell()
            process = subprocess.Popen(
                ["sh", "-c", WRAPPER, str(folder / "exit_code"), *command],
                env={**os.environ, **self._places(), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, pass_fds=[held],
            )  # fmt: skip
            record = {"pid": process.pid, "command": command, "log_start": start}
            storage.write_bytes(str(folder / "process.json"), json.dumps(record).encode())

    def follow(self, id: str) -> State:
        """Show the log until the process has ended."""
        with open(self.root / id / "log", "rb") as log:
            log.seek(self._process(id)["log_start"])
            while True:
                state = self.state(id)
                assert state is not None
                sys.stderr.write(log.read().decode(errors="replace"))
                sys.stderr.flush()
                if state.ended:
                    return state
                time.sleep(0.2)

    def logs(self, id: str) -> str:
        """All that the job has said, in every attempt."""
        return (self.root / id / "log").read_text(errors="replace")

    def stop(self, id: str) -> None:
        """Ask all processes of the job to end, then make them."""
        folder, group = self.root / id, self._process(id)["pid"]
        (folder / "stopped").touch()
        for kind in (signal.SIGTERM, signal.SIGKILL):
            if _is_locked(folder):  # then the group is still the job's
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, kind)
            end = time.monotonic() + GRACE
            while _is_locked(folder) and time.monotonic() < end:
                time.sleep(0.1)

    def _process(self, id: str) -> dict[str, int]:
        return json.loads((self.root / id / "process.json").read_text())

    def _places(self) -> dict[str, str]:
        """Where the code and the store are, named so that the working directory does not matter."""
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"AUNET_STORE": storage.store_root(), "PYTHONPATH": os.pathsep.join(paths)}


@contextlib.contextmanager
def _lock(folder: Path, patience: float = 0.0) -> Iterator[int | None]:
    """A descriptor that holds the folder's lock, for this process and those that inherit it; None: it is held.

    Args:
        patience: seconds in which those who only look may let go of it.
    """
    end = time.monotonic() + patience
    with open(folder / "lock", "wb") as file:
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


def _is_locked(folder: Path) -> bool:
    with _lock(folder) as held:
        return held is None
