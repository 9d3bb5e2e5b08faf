"""A trained network on disk: `model.safetensors` and `config.json`, which may come from anybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from aunet.categories import Categories
from aunet.config import AugmentConfig, AUNetConfig, FusionConfig
from aunet.config_json import from_json
from aunet.documents import read_object
from aunet.errors import InputError
from aunet.model import AUNet, build_model
from aunet.model.initialization import described
from aunet.model_files import CONFIG, WEIGHTS

MAX_CONFIG = 2**20
"""Bytes of a `config.json`."""
_DTYPES = {torch.float32: "F32", torch.int64: "I64"}
"""Of a network's weights, as safetensors calls them."""
_Weights = dict[str, tuple[list[int], str]]
"""Shape and type of each weight."""


def read_settings(folder: Path) -> tuple[AUNetConfig, AugmentConfig, FusionConfig, Categories]:
    """What the `config.json` of a model folder says.

    Raises:
        InputError: it is damaged, or a value is refused.
    """
    try:
        if (size := (folder / CONFIG).stat().st_size) > MAX_CONFIG:
            raise InputError(f"{size} bytes, more than {MAX_CONFIG}")
        document = read_object((folder / CONFIG).read_bytes(), CONFIG)
        if missing := {"model", "augment", "fusion", "categories"} - document.keys():
            raise InputError(f"lacks {', '.join(sorted(missing))}")
        if not isinstance(document["categories"], list):
            raise InputError(f"categories = {document['categories']!r:.80}: give a list")
        return (
            from_json(AUNetConfig, _with_earlier_defaults(document["model"]), "model"),
            from_json(AugmentConfig, document["augment"], "augment"),
            from_json(FusionConfig, document["fusion"], "fusion"),
            Categories.from_json(document["categories"], "categories"),
        )
    except InputError as error:
        raise InputError(f"model {folder}: {CONFIG}: {p}; or fetch the folder again" for p in error.problems) from None


def _with_earlier_defaults(model: Any) -> Any:
    """The settings of a network, with what networks were before a setting was written down, where it is missing."""
    earlier = {"foreground": {"geometry": "unaligned"}, "attention": {"reweight_start": "random"}}
    if not isinstance(model, dict):
        return model
    return model | {
        section: settings | model[section]
        for section, settings in earlier.items()
        if isinstance(model.get(section), dict)
    }


def load_network(folder: Path, config: AUNetConfig, categories: Categories) -> AUNet:
    """The network with the weights of a model folder, on the CPU.

    It takes no more memory than the file: it is built only where the file has the weights that `config` asks for.

    Raises:
        InputError: the weights are damaged, not finite, or of another network; or the network needs a package that is
            not installed.
    """
    try:
        table = _table(folder / WEIGHTS)
        if (layers := _layers(config)) > len(table):
            raise ValueError(f"{CONFIG} asks for {layers} convolutions, more than there are weights")
        if misfit := _misfit(table, _weights_of(config, categories)):
            raise ValueError(misfit)
        model, weights = build_model(config, categories, load_weights=False), load_file(folder / WEIGHTS)
        for name, weight in weights.items():
            if not weight.isfinite().all():
                raise ValueError(f"{name} is not finite")
        model.load_state_dict(weights)
    except InputError as error:  # of the network, such as a package that it needs: the files are not damaged
        raise InputError(f"model {folder}: {problem}" for problem in error.problems) from error
    except (SafetensorError, RuntimeError, TypeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"model {folder}: {WEIGHTS} does not fit {CONFIG} ({reason}); fetch both again") from error
    return model


def _layers(config: AUNetConfig) -> int:
    """How many convolutions are given as numbers, each of which takes time to describe."""
    return config.foreground.box_convs + config.foreground.mask_convs + sum(config.background.convs)


def _weights_of(config: AUNetConfig, categories: Categories) -> _Weights:
    """Those of a network that is described and not built."""
    with described():
        network = build_model(config, categories, load_weights=False)
    return {name: (list(weight.shape), _DTYPES[weight.dtype]) for name, weight in network.state_dict().items()}


def _table(file: Path) -> _Weights:
    """Those of a file, of which nothing else is read."""
    with safe_open(file, "pt") as weights:
        entries = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118 - no dictionary
        return {name: (entry.get_shape(), entry.get_dtype()) for name, entry in entries.items()}


def _misfit(actual: _Weights, wanted: _Weights) -> str:
    """Where two tables differ; empty: nowhere."""
    for name in sorted(actual.keys() | wanted.keys()):
        if name not in actual or name not in wanted:
            return f"{name:.80} is {'unknown' if name in actual else 'missing'}"
        if actual[name] != wanted[name]:
            (shape, dtype), (wanted_shape, wanted_dtype) = actual[name], wanted[name]
            return f"{name} is {dtype}{shape!r:.80}, not {wanted_dtype}{wanted_shape}"
    return ""
