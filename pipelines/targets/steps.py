"""What a Kubeflow step does: one command of `python -m jobs`, here or as a Ray job, and its result as plain values."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from aunet.errors import InputError
from pipelines import storage

ROOT = Path(__file__).resolve().parents[2]


def run_step(verb: str, preset: str, overrides: str, target: str, store: str) -> dict[str, Any]:
    """Run a verb to its end and return its result.

    Args:
        overrides: JSON of dotted names and values.
        target: `local` runs it in this container; `kuberay` as a RayJob that is waited for, and then asks the same
            verb here, which finds the work done and only tells its result.
        store: takes the place of AUNET_STORE; empty: the environment's.

    Raises:
        RuntimeError: the command or the job failed; what it said is in this step's log.
    """
    environment = {**os.environ, **({"AUNET_STORE": store} if store else {})}
    words = [preset, "--overrides", overrides]
    if target != "local":
        _jobs(["submit", verb, *words, "--target", target, "--wait"], environment)
    return _jobs([verb, *words], environment)


def merged_overrides(overrides: str, tuned_uri: str) -> str:
    """`overrides` with those of a finished search laid over them, as JSON."""
    return json.dumps({**json.loads(overrides), **json.loads(storage.read_bytes(tuned_uri))}, sort_keys=True)


def record_outcome(state: str, message: str, preset: str, store: str) -> None:
    """Leave the outcome of a pipeline in the store, where a monitor finds it however the pipeline ended."""
    place = storage.join(store or storage.store_root(), "pipelines", f"{preset}.json")
    storage.write_bytes(place, json.dumps({"preset": preset, "state": state, "message": message}).encode())
    print(f"pipeline {preset}: {state} {message}".rstrip(), file=sys.stderr)


def _jobs(words: list[str], environment: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "jobs", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"python -m jobs {' '.join(words)}: exit code {done.returncode}, see the log above")
    lines = done.stdout.splitlines()
    if not lines:
        raise InputError(f"python -m jobs {' '.join(words)}: no result on stdout; is `jobs` this project's?")
    return json.loads(lines[-1])
