"""How a local Ray is started, and what becomes of a start that fails."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from aunet.errors import InputError, Unavailable
from pipelines.runtime.cluster import join
from pipelines.runtime.starting import (
    MAX_SOCKET_PATH,
    SOCKET,
    START_ATTEMPTS,
    check_temporary_folder,
    start_patiently,
)

NODE_TIMED_OUT = "The current node timed out during startup. This could happen because …"


def starter(*failures: Exception) -> Callable[[], int]:
    """A start that fails in these ways, one call after the other, then succeeds."""
    calls = iter([*failures, None])

    def start() -> int:
        if failure := next(calls):
            raise failure
        return 1

    return start


def test_a_ray_that_starts_at_once_needs_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    start_patiently(starter())
    assert capsys.readouterr().err == ""


SLOW = (
    NODE_TIMED_OUT,
    "Timed out waiting for file /tmp/ray/gcs_server_port",
    "Timed out after 30 seconds while waiting for node to startup.",
    "Timed out waiting for node info for node_id=00.",
    "Failed to start GCS.  Last 0 lines of error files:",
    "Failed to connect to GCS. Last connection error: DEADLINE_EXCEEDED",
    "No node info found matching attributes: '' when trying to resolve node to connect to.",
)
"""What Ray 2.5x says when this machine is too busy, one for each of its timeouts."""


@pytest.mark.parametrize("text", SLOW)
def test_a_ray_that_is_too_slow_is_started_again_with_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    start_patiently(starter(RuntimeError(text)))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Ray did not start within 60 s on this machine (load ") and line.endswith("; trying again")


def test_a_ray_that_does_not_start_is_unavailable_in_one_line() -> None:
    with pytest.raises(Unavailable, match=rf"\(load \d+ on \d+ CPUs\), tried {START_ATTEMPTS} times; ") as caught:
        start_patiently(starter(*[Exception(NODE_TIMED_OUT)] * START_ATTEMPTS))
    assert "\n" not in str(caught.value)


def test_a_timeout_is_one_whatever_its_words_are() -> None:
    with pytest.raises(Unavailable, match=f"tried {START_ATTEMPTS} times"):
        start_patiently(starter(*[TimeoutError("4 of 5")] * START_ATTEMPTS))
    with pytest.raises(Unavailable, match=r"RAY_ADDRESS = auto: 4 of 5; start the cluster"):
        join("auto", {}, lambda **_: starter(TimeoutError("4 of 5"))())


def test_whatever_else_keeps_ray_from_starting_is_one_line_with_a_cure() -> None:
    calls = starter(RuntimeError("Head node temp_dir not found in NodeInfo,\neither GCS or …"))
    with pytest.raises(
        Unavailable, match=r"RuntimeError: Head node temp_dir not found in NodeInfo, either.*; try again"
    ) as caught:
        start_patiently(calls)
    assert "\n" not in str(caught.value) and calls() == 1, "it was called a second time"
    full = OSError(errno.ENOSPC, "No space left on device", "/tmp/ray")
    with pytest.raises(OSError, match="No space left"):
        start_patiently(starter(full))


def test_another_failure_is_raised_at_once() -> None:
    calls = starter(ValueError("num_cpus must be positive"))
    with pytest.raises(ValueError, match="num_cpus"):
        start_patiently(calls)
    assert calls() == 1, "it was called a second time"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_what_a_failed_start_leaves_behind_is_ended() -> None:
    before = subprocess.Popen(["sleep", "60"])
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        if not started:
            code = "import time; time.sleep(60)"
            started.append(subprocess.Popen([sys.executable, "-c", code, "--session-dir=/tmp/ray/session_1"]))
            started.append(subprocess.Popen(["sleep", "60"]))
            end = time.monotonic() + 300
            while b"session_" not in open(f"/proc/{started[0].pid}/cmdline", "rb").read():  # noqa: SIM115
                assert time.monotonic() < end
            raise RuntimeError(NODE_TIMED_OUT)

    try:
        start_patiently(start)
        assert started[0].wait(timeout=10) < 0
        assert started[1].poll() is before.poll() is None, "only Ray's own are"
    finally:
        for process in (before, *started):
            process.kill()
            process.wait()


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_temporary_folder_too_long_for_sockets_is_refused(name: str) -> None:
    longest = MAX_SOCKET_PATH - len(f"/{SOCKET.format(pid=os.getpid())}")
    check_temporary_folder({name: "/" + "a" * (longest - 1)})
    with pytest.raises(InputError, match=rf"{name} = .*: {longest + 1} bytes, .*set RAY_TMPDIR to a shorter folder"):
        check_temporary_folder({name: "/" + "a" * longest})
    check_temporary_folder({"TMPDIR": "/" + "a" * 200, "RAY_TMPDIR": "/tmp"})
    check_temporary_folder({})
