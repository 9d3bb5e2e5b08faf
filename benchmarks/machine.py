"""What a measurement was made on, and where it is kept."""

from __future__ import annotations

import os
import platform
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
"""Where measurements are kept."""


def cpu_name() -> str:
    """The processor and the number of its logical cores, such as `Intel(R) Xeon(R) CPU, 2 cores`."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
