"""Jobs on this machine: detached processes, each with a folder for its log, its pid and its exit code."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Annotated

import yaml

from aunet.config_json import from_json
from aunet.errors import InputError
from aunet.ranges import Count, Range, check_ranges
from pipelines.store import storage
from pipelines.store.job_folder import JobFolder
from pipelines.store.layout import Store
from pipelines.store.stored_json import read_stored
from pipelines.targets.submission import State, Submission

ROOT = Path(__file__).resolve().parents[2]
WRAPPER = 'read go || exit; trap : TERM INT; "$@" < /dev/null; code=$?; echo $code > "$0.tmp" && mv "$0.tmp" "$0"'
"""Waits for a line, runs a command and leaves its exit code in a file, however the command ended."""
RECORD_CURE = "stop the job by hand if it runs, delete its folder and submit it again"
GRACE_SECONDS = 30.0
"""In which a stopped job may end by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobProcess:
    """The process of a job, as it is recorded."""

    pid: Annotated[int, Range(at_least=2, below=2**31)]
    """Also of its process group."""
    command: tuple[str, ...]
    log_start: Count
    """Bytes of the log that earlier attempts have left."""

    def __post_init__(self) -> None:
        check_ranges(self, "process")


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
        if _is_locked(job):
            return State("RUNNING", f"log {job.log}")
        if not job.record.exists():
            return None
        ended = "STOPPED" if job.stopped.exists() else "FAILED"
        if not job.exit_code.exists():
            return State(ended, "killed: it left no exit code")
        code = _exit_code(job)
        return State("SUCCEEDED", exit_code=0) if code == 0 else State(ended, f"log {job.log}", code)

    def send(self, submission: Submission) -> None:
        """Start the process, unless another submission has just done so. It runs once its record is written."""
        job = self.store.job(submission.id)
        job.path.mkdir(parents=True, exist_ok=True)
        with _lock(job, patience=2.0) as held, _open(job.log, "ab") as log:
            if held is None:
                return
            for file in (job.exit_code, job.stopped):
                file.unlink(missing_ok=True)
            command = (sys.executable, "-m", "jobs", *submission.words)
            start = log.tell()
            process = subprocess.Popen(
                ["sh", "-c", WRAPPER, str(job.exit_code), *command],
                env={**os.environ, **self._addresses(), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[held],
            )
            assert process.stdin is not None
            try:
                with process.stdin as stdin:  # closed without a line, it ends the process
                    record = JobProcess(pid=process.pid, command=command, log_start=start)
                    storage.write_bytes(str(job.record), json.dumps(asdict(record)).encode())
                    stdin.write(b"go\n")
            except OSError:
                process.wait()  # until then it holds the lock, and the next submission would take it for a job
                raise

    def follow(self, id: str) -> State:
        """Show the log until the process has ended."""
        start = self._record(id).log_start
        with _open(self.store.job(id).log, "rb") as log:
            log.seek(start)
            while True:
                state = self.state(id)
                assert state is not None
                sys.stderr.write(log.read().decode(errors="replace"))
                sys.stderr.flush()
                if state.ended:
                    return state
                time.sleep(0.2)

    def logs(self, id: str) -> str:
        """All that the job has printed, in every attempt.

        Raises:
            InputError: it has no log.
        """
        with _open(self.store.job(id).log, "rb") as log:
            return log.read().decode(errors="replace")

    def stop(self, id: str) -> None:
        """Ask all processes of the job to end, then end them.

        Raises:
            InputError: its record is damaged, or names a process that is not the job's; nobody gets a signal then.
        """
        job, group = self.store.job(id), self._record(id).pid
        for kind in (signal.SIGTERM, signal.SIGKILL):
            if _is_locked(job):
                if not _is_group_of(job, group):
                    raise InputError(f"{job.record}: pid {group} is not this job's on this machine; {RECORD_CURE}")
                job.stopped.touch()
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, kind)
            end = time.monotonic() + GRACE_SECONDS
            while _is_locked(job) and time.monotonic() < end:
                time.sleep(0.1)

    def _record(self, id: str) -> JobProcess:
        uri = str(self.store.job(id).record)
        plain = read_stored(uri, RECORD_CURE)
        try:
            return from_json(JobProcess, plain, "process")
        except InputError as error:
            raise InputError(f"{uri}: {problem}; {RECORD_CURE}" for problem in error.problems) from None

    def _addresses(self) -> dict[str, str]:
        """The code and the store, named so that the working directory does not matter."""
        paths = [str(self.code), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"AUNET_STORE": storage.store_root(), "PYTHONPATH": os.pathsep.join(paths)}


@contextlib.contextmanager
def _lock(job: JobFolder, patience: float = 0.0, mode: str = "ab") -> Iterator[int | None]:
    """A descriptor that holds the job's lock, for this process and those that inherit it; None: somebody has it.

    Args:
        patience: seconds in which those who only look may release it.
        mode: in which the file is opened.
    """
    end = time.monotonic() + patience
    with _open(job.lock, mode) as file:
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
    """Whether one of the job's processes lives; nothing is written."""
    if not job.lock.is_file():
        return False
    with _lock(job, mode="ab" if os.access(job.lock, os.W_OK) else "rb") as held:
        return held is None


def _is_group_of(job: JobFolder, group: int) -> bool:
    """Whether a process of a group holds the job's lock, as far as this system tells."""
    lock, processes = job.lock.stat(), Path("/proc")
    if not (processes / "self" / "fd").is_dir():
        return group != os.getpgrp()
    for process in processes.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            files = (process / "fd").iterdir() if os.getpgid(int(process.name)) == group else ()
            if any(os.path.samestat(file.stat(), lock) for file in files):
                return True
    return False


def _exit_code(job: JobFolder) -> int:
    """The exit code that a job left.

    Raises:
        InputError: the file holds something else.
    """
    content = storage.read_bytes(str(job.exit_code))
    if re.fullmatch(rb"[0-9]{1,3}\s*", content) and int(content) < 256:
        return int(content)
    raise InputError(f"{job.exit_code}: {content[:20]!r} is not an exit code; delete the file and submit the job again")


def _open(path: Path, mode: str) -> IO[bytes]:
    """A file of a job, which is no link.

    Raises:
        InputError: there is none to read, or it is a link, a pipe or a folder.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise InputError(f"{path}: a link, a pipe or a folder, not the job's file; remove it and submit the job again")
    try:
        return open(path, mode)
    except FileNotFoundError:
        raise InputError(f"{path}: the job has left no such file; submit it again") from None
