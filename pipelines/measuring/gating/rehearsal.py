"""A model as whoever uses it will have it: loaded in fresh processes, which must label alike; its time and its size."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aunet.documents import read_object
from aunet.errors import InputError
from pipelines.store import storage

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 1800
"""Seconds that a process may take."""
MAX_REASON = 300
"""Characters of what a process that failed leaves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """What two fresh processes have shown."""

    problem: str = ""
    """Why the model cannot be used; empty: it can."""
    images: int = 0
    size_mb: float = 0.0
    their_size_mb: float | None = None
    ms: float | None = None
    """Median per image on the CPU; None: not timed."""
    their_ms: float | None = None
    slowdown: float | None = None
    """Our time divided by theirs, taking turns; see `trial.time_in_turns`."""
    not_timed: str = ""
    """Why there is no time though there is a champion."""

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


Ask = Callable[[dict[str, Any]], dict[str, Any]]
"""Answers a request in a fresh process."""
Rehearse = Callable[[str, str | None, Sequence[bytes]], Rehearsal]


def rehearse(ours: str, theirs: str | None, images: Sequence[bytes], ask: Ask | None = None) -> Rehearsal:
    """Load a model in two fresh processes and compare the maps that they give, byte by byte.

    Args:
        ours: the model's folder.
        theirs: the champion's, to compare times; None: there is none.
        images: encoded pictures; none: generated scenes.
        ask: None: `in_fresh_process`.
    """
    ask, size = ask or in_fresh_process, size_mb(ours)
    request = {"ours": ours, "theirs": None, "images": [base64.b64encode(image).decode() for image in images]}
    not_timed = ""

    def second_answer() -> dict[str, Any]:
        nonlocal not_timed
        try:
            return ask({**request, "theirs": theirs})
        except InputError as error:
            if theirs is None:
                raise
            not_timed = f"the champion was not timed: {error}"
            return ask(request)

    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(ask, request), pool.submit(second_answer)]
    try:
        first, second = (answer.result() for answer in answers)
    except InputError as error:
        return Rehearsal(problem=f"it cannot be used in a fresh process: {error}", size_mb=size)
    different = sum(one != other for one, other in zip(first["maps"], second["maps"], strict=True))
    problem = f"two fresh processes label {different} of {len(first['maps'])} images differently" if different else ""
    return Rehearsal(
        problem=problem,
        images=first["images"],
        size_mb=size,
        their_size_mb=size_mb(theirs) if theirs and not not_timed else None,
        ms=second.get("ms"),
        their_ms=second.get("their_ms"),
        slowdown=second.get("slowdown"),
        not_timed=not_timed,
    )


def size_mb(model_uri: str) -> float:
    """Megabytes of a model's folder."""
    return sum(file.size for file in storage.list_files(model_uri)) / 1e6


def in_fresh_process(request: dict[str, Any]) -> dict[str, Any]:
    """The answer of `trial` in a process of its own, on the CPU.

    Raises:
        InputError: it has none; the message ends without a cure.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "answer.json")
        command = [sys.executable, "-m", "pipelines.measuring.gating.trial", str(out)]
        try:
            done = subprocess.run(
                command,
                input=json.dumps(request),
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InputError(f"no answer in {PATIENCE} seconds") from None
        if done.returncode or not out.exists():
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise InputError(lines[-1][:MAX_REASON])
        return read_object(out.read_bytes(), "trial")
