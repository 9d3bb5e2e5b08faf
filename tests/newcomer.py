"""Following docs/your_data.md by the page alone: its commands, in a checkout of one's own, one after the other."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.commands import ROOT

PAGE = ROOT / "docs" / "your_data.md"
HEADING = "## From labelled photos to a model"
PROGRAM = ".venv/bin/aunet"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command that was run."""

    command: str
    seconds: float
    exit_code: int
    stderr: str
    result: dict[str, Any]
    """The last line of stdout."""


def blocks(text: str) -> Iterator[list[str]]:
    """The commands of every block of shell on a page, those over several lines joined."""
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        yield [line for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def walkthrough() -> list[str]:
    """The commands from labelled photos to a model."""
    text = PAGE.read_text(encoding="utf-8")
    return next(blocks(text[text.index(HEADING) :]))


def words_of(command: str) -> list[str]:
    """What a command gives the program; leading environment variables are left out."""
    words = shlex.split(command, comments=True)
    return words[words.index(PROGRAM) + 1 :]


def checkout(folder: Path) -> Path:
    """A checkout in which presets can be written, with the program where the page calls it."""
    for name in ("aunet", "pipelines", "jobs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for own in (folder / "pipelines").glob("preset_*.py"):
        own.unlink()
    program = folder / PROGRAM
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" -m jobs "$@"\n')
    program.chmod(0o755)
    return folder


def follow(commands: Sequence[str], folder: Path, seconds: float = 3600) -> Iterator[Step]:
    """Run commands in a checkout, as somebody types them into a shell; ends after the first that fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUNET_", "MLFLOW_", "RAY_"))}
    for command in commands:
        started = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=kept, capture_output=True, text=True, timeout=seconds, check=False
        )
        lines = done.stdout.splitlines()
        yield Step(
            command=command,
            seconds=time.monotonic() - started,
            exit_code=done.returncode,
            stderr=done.stderr,
            result=json.loads(lines[-1]) if lines else {},
        )
        if done.returncode:
            return
