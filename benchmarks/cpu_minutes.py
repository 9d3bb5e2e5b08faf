"""CPU minutes of a command and all that it starts.

    python benchmarks/cpu_minutes.py .venv/bin/aunet run camvid_small

Ray's daemons and workers are not children of the command, so processes are recognised by a mark in their environment;
their CPU time is read from /proc once a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

MARK = "AUNET_CPU_MINUTES"
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(mark: str) -> dict[int, float]:
    """User and system seconds so far of every living process that carries the mark."""
    seconds: dict[int, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                seconds[int(folder.name)] = (int(fields[11]) + int(fields[12])) / TICKS
        except OSError:  # the process ended meanwhile, or belongs to somebody else
            continue
    return seconds


def main(words: list[str]) -> int:
    mark, seen, started = f"{MARK}={uuid.uuid4().hex}", {}, time.monotonic()
    process = subprocess.Popen(words, env={**os.environ, MARK: mark.split("=")[1]})
    while process.poll() is None:
        seen |= cpu_seconds(mark)
        time.sleep(1)
    minutes = {"cpu_minutes": sum(seen.values()) / 60, "wall_minutes": (time.monotonic() - started) / 60}
    print(json.dumps({name: round(value, 1) for name, value in minutes.items()}), file=sys.stderr)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
