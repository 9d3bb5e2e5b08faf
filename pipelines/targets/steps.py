"""What a Kubeflow step does: one command of `python -m jobs`, here or as a Ray job, and its result as plain values."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.layout import Store
from pipelines.store.stored_json import read_stored, stored_object

ROOT = Path(__file__).resolve().parents[2]

Command = Callable[[list[str], dict[str, str]], dict[str, Any]]
"""Runs `python -m jobs` with these words and this environment, and returns its result."""


def run_command(words: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run `python -m jobs` to its end and return its result.

    Raises:
        RuntimeError: it failed; its messages are in this step's log.
        InputError: it printed no result.
    """
    command = [sys.executable, "-m", "jobs", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"python -m jobs {' '.join(words)}: exit code {done.returncode}, see the log above")
    name, lines = f"python -m jobs {' '.join(words)}", done.stdout.splitlines()
    if not lines:
        raise InputError(f"{name}: no result on stdout; is `jobs` this project's?")
    return stored_object(lines[-1], f"{name}: the result", "is `jobs` this project's?")


def run_step(
    verb: str, preset: str, overrides: str, target: str, store: str, command: Command = run_command
) -> dict[str, Any]:
    """Run a verb to its end and return its result.

    Args:
        overrides: JSON of dotted names and values.
        target: `local` runs it in this container; `kuberay` as a RayJob that is waited for, and then calls the same
            verb here, which finds the work done and only returns its result.
        store: in place of AUNET_STORE; empty: the environment's.

    Raises:
        RuntimeError: the command or the job failed; its messages are in this step's log.
    """
    environment = {**os.environ, **({"AUNET_STORE": store} if store else {})}
    words = [preset, "--overrides", overrides]
    if target != "local":
        command(["submit", verb, *words, "--target", target, "--wait"], environment)
    return command([verb, *words], environment)


def merged_overrides(overrides: str, tuned_uri: str) -> str:
    """`overrides` with those of a finished search laid over them, as JSON."""
    tuned = read_stored(tuned_uri, "run `tune` again")
    return json.dumps({**stored_object(overrides, "overrides", "give an object"), **tuned}, sort_keys=True)


def record_outcome(state: str, message: str, preset: str, store: str) -> None:
    """Leave the outcome of a pipeline in the store, where a monitor finds it however the pipeline ended."""
    uri = Store(store or storage.store_root()).pipeline_uri(preset)
    storage.write_bytes(uri, json.dumps({"preset": preset, "state": state, "message": message}).encode())
    print(f"pipeline {preset}: {state} {message}".rstrip(), file=sys.stderr)
