"""The command line: in processes of their own, as people and schedulers call it, and in this one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from jobs.__main__ import main
from jobs.parsing import parse
from pipelines.presets import shapes_smoke
from pipelines.settings.overrides import differences
from pipelines.store import storage

ROOT = Path(__file__).resolve().parent.parent
TINY_SETTINGS = {
    "data.shapes.num_train": "12",
    "data.shapes.num_val": "4",
    "data.shapes.height": "64",
    "data.shapes.width": "96",
    "data.rows_per_shard": "4",
    "augment.crop": "64 96",
    "model.backbone.fpn_channels": "16",
    "model.foreground.box_channels": "32",
    "model.foreground.mask_channels": "16",
    "model.background.channels": "16",
    "train.batch_size": "4",
    "train.epochs": "4",
    "train.checkpoint_every": "1",
}
TINY_RUN = [word for name, value in TINY_SETTINGS.items() for word in (f"--{name}", *value.split())]
"""`shapes_smoke`, small enough for seconds: 12 scenes, 12 steps, a checkpoint every 3."""
NUM_STEPS, LOGGED_STEPS = 12, [10, 12]


class MainJob(NamedTuple):
    """The whole main job, from nothing to a registered model."""

    store: Path
    result: dict[str, Any]
    log: str
    submitted: dict[str, Any]
    """What `submit` returned."""
    token: str
    """Opened the cluster that it ran on."""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "jobs", *words]


def environment(store: Path | str, more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, "AUNET_STORE": str(store), **(more or {})}


def jobs(
    store: Path | str, *words: str, rc: int = 0, seconds: float = 900, more: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], str]:
    """Run a command to its end. Returns the JSON of stdout's last line ({} where there is none) and stderr.

    Args:
        more: environment variables.
    """
    try:
        done = subprocess.run(
            command(*words), cwd=ROOT, env=environment(store, more), capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stderr or b"").decode(errors="replace")
        raise AssertionError(f"{' '.join(words)} has not ended after {seconds:.0f} s\n{said[-6000:]}") from None
    assert done.returncode == rc, f"exit code {done.returncode}\n{done.stderr[-3000:]}"
    lines = done.stdout.splitlines()
    return (json.loads(lines[-1]) if lines else {}), done.stderr


def jobs_here(store: Path | str, *words: str, rc: int = 0) -> tuple[dict[str, Any], str]:
    """`jobs` in this process: for commands that start no Ray, whose libraries are loaded here already."""
    out, err = io.StringIO(), io.StringIO()
    with mock.patch.dict(os.environ, {"AUNET_STORE": str(store)}), contextlib.redirect_stderr(err):
        code = main(words, out)
    assert code == rc, f"exit code {code}\n{err.getvalue()[-3000:]}"
    lines = out.getvalue().splitlines()
    return (json.loads(lines[-1]) if lines else {}), err.getvalue()


def weights_hash(store: Path) -> str:
    """SHA-256 of the weights of the one model in a store."""
    (hashes,) = store.glob("runs/*/model/sha256.json")
    return json.loads(hashes.read_text())["model.safetensors"]


def tiny_changes() -> dict[str, Any]:
    """The settings of `TINY_RUN`, as `override` takes them."""
    _, options = parse(["run", "shapes_smoke", *TINY_RUN], io.StringIO())
    return differences(options.config, shapes_smoke())


def processes(store: Path, *titles: str) -> list[int]:
    """Processes of the commands that write to `store`; with titles, those whose command line holds one of them."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = f"AUNET_STORE={store}".encode() in (folder / "environ").read_bytes()
            line = (folder / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if is_ours and (not titles or any(title.encode() in line for title in titles)):
            pids.append(int(folder.name))
    return pids


def files_of_runs(text: str) -> list[str]:
    """Files of the runs in the store at AUNET_STORE, wherever that is, whose path holds `text`."""
    runs = f"{os.environ['AUNET_STORE']}/runs"
    files = storage.list_files(runs) if storage.exists(runs) else []
    return [f"{runs}/{file.path}" for file in files if text in file.path]


def stored_run() -> tuple[str, list[int]]:
    """SHA-256 of the weights of the one model in the store at AUNET_STORE, and the steps that its run has logged."""
    (hashes,), (events,) = files_of_runs("model/sha256.json"), files_of_runs("/events.jsonl")
    lines = [json.loads(line) for line in storage.read_bytes(events).splitlines()]
    weights = json.loads(storage.read_bytes(hashes))["model.safetensors"]
    return weights, [line["step"] for line in lines if line["kind"] == "step"]
