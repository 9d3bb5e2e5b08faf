"""Starting a local Ray: where its sockets fit, and again where the machine was too busy."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from aunet.errors import InputError, Unavailable

START_SECONDS = 60
"""How long a local Ray may take to start. A busy machine needs more than Ray's own 30 seconds; after a minute its node
has given up, for it waits 15 seconds at most for each port of its agents."""
START_ATTEMPTS = 3
"""Starts of a local Ray before giving up; the next one finds the files of the one before in memory."""
TOO_SLOW = (
    "timed out",
    "failed to start gcs",
    "failed to connect to gcs",
    "failed to get node info",
    "no node info",
    "deadline",
)
"""How Ray's errors put it, in small letters, that a process of its own did not start or answer in time."""
MAX_SOCKET_PATH = 107 if sys.platform == "linux" else 103
"""Bytes of the path of a Unix socket that systems accept."""
SOCKET = "ray/session_2026-01-01_00-00-00_000000_{pid}/sockets/plasma_store"
"""The longest path of Ray's sockets below its temporary folder."""


def check_temporary_folder(environment: Mapping[str, str]) -> None:
    """Refuse a temporary folder below which Ray could not open its sockets.

    Raises:
        InputError: its path is too long.
    """
    name = "RAY_TMPDIR" if "RAY_TMPDIR" in environment else "TMPDIR"
    folder = environment.get(name) or "/tmp"
    longest = MAX_SOCKET_PATH - len(f"/{SOCKET.format(pid=os.getpid())}")
    if (size := len(os.fsencode(os.path.abspath(folder)))) > longest:
        raise InputError(
            f"{name} = {folder!r:.200}: {size} bytes, over {longest}, too long for the paths of Ray's sockets; "
            "set RAY_TMPDIR to a shorter folder, such as RAY_TMPDIR=/tmp"
        )


def start_patiently(start: Callable[[], object]) -> None:
    """Start a local Ray, again where this machine was too busy for the first attempt.

    Args:
        start: raises a `TimeoutError`, or an exception with one of `TOO_SLOW` in it, when a process did not start in
            time.

    Raises:
        Unavailable: all attempts were too slow, or Ray says of something else that it cannot start.
    """
    running = _children()
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            start()
            return
        except Exception as error:
            if isinstance(error, TypeError | ValueError) or (isinstance(error, OSError) and error.errno):
                raise  # a fault of the call, or the system's answer, such as that the disk is full
            _end_ray(_children() - running)
            cure = "try again when it is less busy, or name a running cluster: RAY_ADDRESS=HOST:6379"
            if not is_slow(error):
                reason = " ".join(str(error).split())[:300]
                raise Unavailable(
                    f"Ray did not start on this machine ({type(error).__name__}: {reason}); {cure}"
                ) from error
            load = f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} CPUs"
            slow = f"Ray did not start within {START_SECONDS} s on this machine ({load})"
            if attempt == START_ATTEMPTS:
                raise Unavailable(f"{slow}, tried {attempt} times; {cure}") from error
            print(f"{slow}; trying again", file=sys.stderr)


def is_slow(error: Exception) -> bool:
    """Whether an error of Ray says that something did not start or answer in time."""
    return isinstance(error, TimeoutError) or any(text in str(error).lower() for text in TOO_SLOW)


def _children() -> set[int]:
    """Ids of this process's children; empty where the system does not list them."""
    children: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            children |= {int(pid) for pid in path.read_text().split()}
    return children


def _end_ray(pids: set[int]) -> None:
    """End those that belong to a session of Ray: a failed start leaves its processes, which would slow the next one."""
    for pid in pids:
        with contextlib.suppress(OSError):
            if b"session_" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
