"""From a model folder to its predictor."""

from __future__ import annotations

import torch

from aunet.model.precision import autocast_dtype
from aunet.predictor import Predictor
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.store.hashes import check_hashes, check_listing


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
