"""The entrypoint of a job on Ray: `python -m pipelines.targets.entry VERB …` is `python -m jobs VERB …` and more.

The job's end and its logs are left in the store, which outlives the cluster: `submit` and `job` read them there.
KubeRay starts a failed job again, with a new cluster, whatever its exit code. A job that is wrong (2) or refused (3)
would end the same way each time, so in a pod it is stopped instead: KubeRay calls a stopped job complete.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from aunet.errors import InputError, Unavailable
from pipelines.runtime.code_version import check_code
from pipelines.runtime.job_logs import collect_logs
from pipelines.targets.job_client import JobClient
from pipelines.targets.job_end import PERMANENT, JobEnd, forget_end, write_end, write_logs
from pipelines.targets.variables import GIVEN, JOB

KEPT_LINES = 5
DASHBOARD = "http://127.0.0.1:8265"
"""The job server of the head, on which an entrypoint runs."""
STOP_SECONDS = 60.0


def run(
    words: Sequence[str],
    environment: Mapping[str, str],
    command: Callable[[Sequence[str]], int],
    stop: Callable[[], object],
    logs: Callable[[], Mapping[str, bytes]] = collect_logs,
) -> int:
    """Run a command as this job and leave its end in the store; in a pod, where it ends for good, have the job stopped.

    Args:
        words: what follows `python -m jobs`.
        command: runs them and returns the exit code.
        stop: asks the job server to stop this job; returns where that could not be asked.
        logs: those of the driver and the workers, which go with the cluster.

    Returns:
        The exit code.
    """
    id = environment.get(JOB)
    if id:
        forget_end(id)
    kept = Tail(sys.stderr)
    with contextlib.redirect_stderr(kept):
        try:
            check_code(environment)
            code = command(words)
        except InputError as error:
            print(*(f"error: {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
            code = 2
    if not id:
        return code
    end = JobEnd(when=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", exit_code=code, lines=tuple(kept.lines))
    keep_logs(id, logs)
    try:
        write_end(id, end)
    except (InputError, Unavailable, OSError) as error:  # the job then fails, and is tried again
        print(f"the end of {id} could not be stored: {error}", file=sys.stderr)
        return code
    if code in PERMANENT and GIVEN in environment:
        stop()
    return code


def keep_logs(id: str, logs: Callable[[], Mapping[str, bytes]]) -> None:
    """Leave the job's logs in the store; what goes wrong with them changes nothing else."""
    try:
        if kept := logs():
            print(f"logs · {len(kept)} files in {write_logs(id, kept)}", file=sys.stderr)
    except Exception as error:  # noqa: BLE001 - the job's end counts, not its logs
        print(f"the logs of {id} could not be stored: {error}", file=sys.stderr)


class Tail:
    """A stream that also keeps the last lines that were written to it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._open = ""

    def write(self, text: str) -> int:
        *lines, self._open = (self._open + text).split("\n")
        self.lines.extend(line for line in lines if line.strip())
        return self.stream.write(text)

    def flush(self) -> None:
        self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def run_jobs(words: Sequence[str]) -> int:
    """`python -m jobs` in this process, which signals reach as if it were that one."""
    sys.argv = ["jobs", *words]
    try:
        runpy.run_module("jobs", run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def stop_this_job() -> None:
    """Ask the job server to stop the job that this process belongs to, which ends the process."""
    try:
        config = json.loads(os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"])
        server = os.environ.get("RAY_API_SERVER_ADDRESS", DASHBOARD)
        JobClient(server).stop_job(config["metadata"]["job_submission_id"])
    except Exception as error:  # noqa: BLE001 - whatever is wrong, the exit code is left
        print(f"this job could not be stopped, so it may be started again: {error}", file=sys.stderr)
        return
    time.sleep(STOP_SECONDS)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], os.environ, run_jobs, stop_this_job))
