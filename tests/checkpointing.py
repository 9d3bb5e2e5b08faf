"""Checkpoints of a state that is a few numbers, saved as a training saves its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pipelines import presets
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.store.checkpoints import Checkpoint
from pipelines.store.run_folder import RunFolder
from pipelines.training.checkpoint import Progress, read_checkpoint
from pipelines.training.saving import Saver, Stores

KEEP = 2


def small_config() -> RunConfig:
    config = presets.shapes_smoke()
    return replace(config, train=replace(config.train, keep_last=KEEP))


def small_state(step: int) -> dict[str, Any]:
    """Weights and moments that tell steps apart."""
    return {
        "model": {"weight": torch.full((5, 3), float(step)), "bias": torch.arange(3.0) + step},
        "average": None,
        "optimizer": {"state": {0: {"step": torch.tensor(step), "exp_avg": torch.full((5, 3), step / 7)}}},
        "scaler": {"scale": 1.0},
    }


def saver(folder: RunFolder) -> Saver:
    stores = Stores(
        checkpoints=folder.checkpoints,
        history=folder.history,
        may_commit=lambda: None,
        is_needed=lambda _: False,
    )
    return Saver(small_config(), stores, lambda _: None)


def save(folder: RunFolder, step: int, by: Saver | None = None) -> Saver:
    """Save the state of a step with an event, and wait for it."""
    by = by or saver(folder)
    by.events.append({"kind": "step", "step": step, "loss": 1 / step})
    by.save(Progress(step, (("attempt", 0, step),)), small_state(step))
    by.wait()
    return by


def loaded(checkpoint: Checkpoint) -> int:
    """The step of a checkpoint, which is whole and holds the state of that step."""
    with storage.local_folder(checkpoint.uri) as local:
        progress, state = read_checkpoint(local)
    expected = small_state(progress.step)
    for name in ("weight", "bias"):
        assert torch.equal(state["model"][name], expected["model"][name])
    assert torch.equal(state["optimizer"]["state"][0]["exp_avg"], expected["optimizer"]["state"][0]["exp_avg"])
    assert progress.lineage == (("attempt", 0, progress.step),)
    return progress.step


def with_checkpoints(uri: str | Path, *steps: int) -> RunFolder:
    """A run with checkpoints of these steps, and one that was never completed."""
    folder = RunFolder(str(uri))
    for step in steps:
        save(folder, step)
    storage.write_bytes(storage.join(folder.checkpoints.new(steps[-1]).uri, "state.pt"), b"half")
    return folder
