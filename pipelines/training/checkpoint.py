"""Checkpoints and model folders: what they hold. Every file is hashed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor

from aunet.errors import InputError
from aunet.model_files import CONFIG, WEIGHTS
from aunet.torch_files import read_state
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.store import storage
from pipelines.store.checkpoints import Checkpoint
from pipelines.store.hashes import STATE, check_hashes, write_hashes


class Stateful(Protocol):
    """A network, an optimiser, or what else has a state of tensors and plain values."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


class DamagedCheckpoint(InputError):
    """A checkpoint is not what was written."""


class Progress(NamedTuple):
    """How far the weights have come, and who brought them there."""

    step: int = 0
    """Steps that are finished. The order of the samples, the learning rate and every random draw follow from it."""
    lineage: tuple[tuple[str, int, int], ...] = ()
    """Every attempt whose steps are in the weights: its name, its first step and the step after its last."""

    def advanced(self, attempt: str, step: int) -> Progress:
        """This progress, continued by an attempt to `step`."""
        return Progress(step, (*self.lineage, (attempt, self.step, step)) if step > self.step else self.lineage)


def state_of(components: Mapping[str, Stateful | None]) -> dict[str, Any]:
    """The states of the given objects by name; None where there is no such object."""
    return {name: component.state_dict() if component is not None else None for name, component in components.items()}


def save_checkpoint(folder: Path, progress: Progress, state: Mapping[str, Any], config: RunConfig) -> None:
    """Write all that the next step depends on, with the resolved configuration and the hashes of both.

    Args:
        state: as `state_of` returns it.
    """
    torch.save({"step": progress.step, "lineage": [list(entry) for entry in progress.lineage], **state}, folder / STATE)
    (folder / CONFIG).write_text(json.dumps(to_json(config), indent=1))
    write_hashes(folder)


def read_checkpoint(folder: Path) -> tuple[Progress, dict[str, Any]]:
    """What `save_checkpoint` wrote, checked against its hashes; runs no code of whoever wrote it, and needs no Ray.

    Raises:
        DamagedCheckpoint: a file is missing, or not what was written.
    """
    try:
        check_hashes(folder)
        state = read_state(folder / STATE)
        lineage = tuple((str(name), int(first), int(end)) for name, first, end in state.pop("lineage"))
        progress = Progress(state.pop("step"), lineage)
        if type(progress.step) is not int or progress.step < 0:
            raise ValueError(f"step {progress.step!r:.40}")
    except InputError as error:
        raise DamagedCheckpoint(error.problems) from None
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise DamagedCheckpoint(_not_a_checkpoint(folder, error)) from error
    return progress, state


def stored_state(checkpoint: Checkpoint) -> tuple[Progress, dict[str, Any]]:
    """`read_checkpoint` of one in the store.

    Raises:
        DamagedCheckpoint: it is not what was written.
    """
    with storage.local_folder(checkpoint.uri) as local:
        return read_checkpoint(local)


def load_state(state: Mapping[str, Any], components: Mapping[str, Stateful | None], source_name: str | Path) -> None:
    """Load what was read from a checkpoint into the given objects.

    Args:
        source_name: of the checkpoint, for messages.

    Raises:
        InputError: it is not a checkpoint of such objects.
    """
    try:
        for name, component in components.items():
            if component is not None:
                component.load_state_dict(state[name])
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
        raise InputError(_not_a_checkpoint(source_name, error)) from error


def _not_a_checkpoint(folder: str | Path, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{folder}/{STATE}: not a checkpoint of this run ({reason:.160}); remove its folder"


def save_model(folder: Path, weights: dict[str, Tensor], settings: dict[str, Any]) -> None:
    """Write the folder that `aunet.Predictor.from_folder` reads: safetensors, configuration, hashes."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(settings, indent=1))
    write_hashes(folder)
