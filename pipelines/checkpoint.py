"""Checkpoints and model folders: what they hold, and the hashes that no file format brings along."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aunet.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.config import RunConfig

STATE, CONFIG, HASHES = "state.pt", "config.json", "sha256.json"
SNAPSHOT = "checkpoint_manager_snapshot.json"
"""Ray's list of a run's checkpoints, by which it resumes."""


class Stateful(Protocol):
    """A network, an optimiser, or what else has a state of tensors and plain values."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


def save_checkpoint(folder: Path, step: int, parts: Mapping[str, Stateful | None], config: RunConfig) -> None:
    """Write all that the next step depends on, with the resolved configuration and the hashes of both.

    The learning rate, the order of the samples and every random draw are functions of (seed, step, rank): no state.
    """
    import torch

    from pipelines.config import to_json

    state = {name: part.state_dict() if part is not None else None for name, part in parts.items()}
    torch.save({"step": step, **state}, folder / STATE)
    (folder / CONFIG).write_text(json.dumps(to_json(config), indent=1))
    write_hashes(folder)


def load_checkpoint(folder: Path, parts: Mapping[str, Stateful | None]) -> int:
    """Put a checkpoint's state into the given objects; returns the number of steps that are done.

    Raises:
        InputError: a file is missing or not what was written.
    """
    import torch

    check_hashes(folder)
    state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        if part is not None:
            part.load_state_dict(state[name])
    return int(state["step"])


def save_model(folder: Path, weights: dict[str, Tensor], settings: dict[str, Any]) -> None:
    """Write the folder that `aunet.Predictor.from_folder` reads: safetensors, configuration, hashes."""
    from safetensors.torch import save_file

    from aunet.predictor import CONFIG, WEIGHTS

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(settings, indent=1))
    write_hashes(folder)


def write_hashes(folder: Path) -> None:
    """Write `sha256.json`: the SHA-256 of every other file of the folder."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name != HASHES)
    (folder / HASHES).write_text(json.dumps({p.name: _sha256(p) for p in files}, indent=1))


def check_hashes(folder: Path) -> None:
    """Compare every file with `sha256.json`.

    Raises:
        InputError: naming each file that is missing or damaged.
    """
    if not (folder / HASHES).is_file():
        raise InputError(f"{folder}: {HASHES} is missing; this is no complete checkpoint or model, name another folder")
    expected: dict[str, str] = json.loads((folder / HASHES).read_text())
    damaged = [name for name, sha in expected.items() if not (folder / name).is_file() or _sha256(folder / name) != sha]
    if damaged:
        raise InputError(
            f"{folder / name}: missing, or its SHA-256 is not the one in {HASHES}; fetch it again or remove the folder"
            for name in damaged
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
