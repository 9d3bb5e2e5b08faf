"""`python -m tests.fuzz TARGET [SECONDS]`: feed one reader with what atheris makes of the seeds.

A crash stays in `build/fuzz/TARGET`; once mended, it becomes a seed.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

atheris: Any = importlib.import_module("atheris")  # only `make fuzz` installs it
with atheris.instrument_imports(include=["aunet", "pipelines"]):
    from tests.fuzz.targets import SEEDS, TARGETS, survives


def run(name: str, seconds: int) -> None:
    """Fuzz the reader `name`; atheris ends the process."""
    if name not in TARGETS:
        sys.exit(f"unknown target {name}; choose one of {', '.join(TARGETS)}")
    finds = Path("build/fuzz") / name
    finds.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={finds}/crash-", "-rss_limit_mb=4096", "-timeout=20"]
    atheris.Setup([sys.argv[0], *options, str(finds), str(SEEDS / name)], lambda data: survives(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    run(sys.argv[1] if len(sys.argv) > 1 else "", int(sys.argv[2]) if len(sys.argv) > 2 else 60)
