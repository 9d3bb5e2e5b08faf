"""The command line in processes of their own, as people and schedulers call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TINY_RUN = [
    "--data.shapes.num_train", "12", "--data.shapes.num_val", "4", "--data.rows_per_shard", "4",
    "--data.shapes.height", "64", "--data.shapes.width", "96", "--augment.crop", "64", "96",
    "--model.backbone.fpn_channels", "16", "--model.foreground.box_channels", "32",
    "--model.foreground.mask_channels", "16", "--model.background.channels", "16",
    "--train.batch_size", "4", "--train.epochs", "8", "--train.checkpoint_every", "1",
]  # fmt: skip
"""`shapes_smoke`, small enough for seconds: 12 scenes, 24 steps, a checkpoint every 3."""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "jobs", *words]


def environment(store: Path | str, **more: str) -> dict[str, str]:
    return {**os.environ, "AUNET_STORE": str(store), **more}


def jobs(store: Path | str, *words: str, rc: int = 0, seconds: float = 500, **more: str) -> tuple[dict[str, Any], str]:
    """Run a command to its end. Returns the JSON of stdout's last line ({} where there is none) and stderr."""
    done = subprocess.run(
        command(*words), cwd=ROOT, env=environment(store, **more), capture_output=True, text=True, timeout=seconds
    )
    assert done.returncode == rc, f"exit code {done.returncode}\n{done.stderr[-3000:]}"
    lines = done.stdout.splitlines()
    return (json.loads(lines[-1]) if lines else {}), done.stderr


def weights_hash(store: Path) -> str:
    """SHA-256 of the weights of the one model in a store."""
    (hashes,) = store.glob("runs/*/model/sha256.json")
    return json.loads(hashes.read_text())["model.safetensors"]
