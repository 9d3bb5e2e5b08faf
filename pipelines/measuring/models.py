"""From what people call a model to its folder and its predictor."""

from __future__ import annotations

import torch

from aunet.errors import InputError
from aunet.model.precision import autocast_dtype
from aunet.model_files import PROGRAM, WEIGHTS
from aunet.predictor import Predictor
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.store.hashes import check_hashes, check_listing
from pipelines.store.run_folder import RunFolder
from pipelines.tracking.address import is_registered

MODEL_FILES = (WEIGHTS, PROGRAM)
"""A model folder has one of them: trained, or exported."""


def model_folder(model: str) -> str:
    """The folder that `--model` names.

    Args:
        model: a model folder's URI, a run's URI, or `models:/name@alias`.

    Raises:
        InputError: there is no such model.
    """
    if is_registered(model):
        from pipelines.tracking.registry import resolve_model  # MLflow takes seconds to import; a folder needs none

        return resolve_model(model)
    for folder in (model, RunFolder(model).model_uri):
        if any(storage.exists(storage.join(folder, name)) for name in MODEL_FILES):
            return folder
    raise InputError(
        f"--model {model}: no {' or '.join(MODEL_FILES)} there; give a model folder, a run or models:/name@alias"
    )


def load_predictor(model_uri: str, config: RunConfig | None = None, *, trust_exported: bool = False) -> Predictor:
    """The predictor of a model folder, checked against its hashes, on the GPU where there is one.

    Args:
        config: where given, its fusion and input size replace those the model was trained with.
        trust_exported: also load a program of `export`, which is code.

    Raises:
        InputError: a file is missing, damaged or not listed, they do not belong together, or there is a program that is
            not trusted.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = autocast_dtype(config.train.precision if config else "auto", device)
    check_listing(model_uri)  # before anything is fetched
    with storage.local_folder(model_uri) as folder:
        check_hashes(folder)
        predictor = Predictor.from_folder(folder, device=device, precision=precision, trust_exported=trust_exported)
    if config is not None:
        predictor.augment, predictor.fusion = config.augment, config.fusion
    return predictor
