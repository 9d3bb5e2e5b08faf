"""Checkpoints and model folders: what they hold. Every file is hashed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor

from aunet.errors import InputError
from aunet.model_files import CONFIG, WEIGHTS
from aunet.torch_files import read_state
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.store.hashes import STATE, check_hashes, write_hashes


class Stateful(Protocol):
    """A network, an optimiser, or what else has a state of tensors and plain values."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


def save_checkpoint(folder: Path, step: int, components: Mapping[str, Stateful | None], config: RunConfig) -> None:
    """Write all that the next step depends on, with the resolved configuration and the hashes of both.

    The learning rate, the order of the samples and every random draw are functions of (seed, step, rank): no state.
    """
    state = {name: component.state_dict() if component is not None else None for name, component in components.items()}
    torch.save({"step": step, **state}, folder / STATE)
    (folder / CONFIG).write_text(json.dumps(to_json(config), indent=1))
    write_hashes(folder)


def load_checkpoint(folder: Path, components: Mapping[str, Stateful | None]) -> int:
    """Load a checkpoint's state into the given objects; returns the number of finished steps.

    Raises:
        InputError: a file is missing, not what was written, or not a checkpoint of such objects.
    """
    check_hashes(folder)
    try:
        state = read_state(folder / STATE)
        for name, component in components.items():
            if component is not None:
                component.load_state_dict(state[name])
        if type(state["step"]) is not int or state["step"] < 0:
            raise ValueError(f"step {state['step']!r:.40}")
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{folder / STATE}: not a checkpoint of this run ({reason:.160}); delete its folder, and the run resumes "
            "from the one before"
        ) from error
    return state["step"]


def save_model(folder: Path, weights: dict[str, Tensor], settings: dict[str, Any]) -> None:
    """Write the folder that `aunet.Predictor.from_folder` reads: safetensors, configuration, hashes."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(settings, indent=1))
    write_hashes(folder)
