"""From what people call a model to its folder. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aunet.errors import InputError
from aunet.model_files import PROGRAM, WEIGHTS
from pipelines.store import storage
from pipelines.store.hashes import digest
from pipelines.store.run_folder import RunFolder
from pipelines.tracking.address import is_registered

MODEL_FILES = (WEIGHTS, PROGRAM)
"""A model folder has one of them: trained, or exported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedModel:
    """What a name of a model stands for."""

    folder: str
    name: str | None = None
    """Of the registered model; None: it is a folder."""
    version: int | None = None

    def sha256(self) -> str:
        """The hash that names the content of the folder.

        Raises:
            InputError: the folder has no list of hashes, or a file that is not in it.
        """
        return digest(self.folder)


def model_folder(model: str) -> str:
    """The folder that `--model` names.

    Args:
        model: a model folder's URI, a run's URI, or `models:/name@alias`.

    Raises:
        InputError: there is no such model.
    """
    return find_model(model).folder


def find_model(model: str) -> NamedModel:
    """The folder that `--model` names, and the version that it is of a registered model.

    Raises:
        InputError: there is no such model.
    """
    if is_registered(model):
        version, folder = _registry().resolve_version(model)
        return NamedModel(folder=folder, name=version.name, version=version.number)
    for folder in (model, RunFolder(model).model_uri):
        if any(storage.exists(storage.join(folder, name)) for name in MODEL_FILES):
            return NamedModel(folder=folder)
    raise InputError(
        f"--model {model}: no {' or '.join(MODEL_FILES)} there; give a model folder, a run or models:/name@alias"
    )


def held_version(model: str) -> int | None:
    """The version that `models:/name@alias` or `models:/name/version` stands for now; None: the name of a folder.

    Raises:
        InputError: there is none.
    """
    return _registry().named_version(model).number if is_registered(model) else None


def _registry() -> Any:
    from pipelines.tracking import registry  # MLflow takes seconds to import; a folder needs none

    return registry
