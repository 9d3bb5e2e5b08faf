"""What a measurement was made on, what its processes hold, and where it is kept."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
"""Folder of all measurements."""


def cpu_name() -> str:
    """The processor and the number of its logical cores, such as `Intel(R) Xeon(R) CPU, 2 cores`."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def with_descendants(pid: int) -> Iterator[int]:
    """A process and all that it started, directly or not."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            yield from with_descendants(int(child))


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and of all that it started and that still run."""
    ticks = 0
    for each in with_descendants(pid):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def proportional_bytes(pid: int) -> int:
    """Bytes that a process holds, shared pages in proportion (PSS); 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
