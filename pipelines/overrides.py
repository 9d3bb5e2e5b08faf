"""Settings by dotted name, as the command line, Tune trials, override files and MLflow spell them."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aunet.errors import InputError
from pipelines.config import RunConfig, from_json, to_json


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every setting of a configuration by its dotted name (`train.lr`)."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        flat |= flatten(value, f"{name}.") if dataclasses.is_dataclass(value) else {name: value}
    return flat


def override(config: RunConfig, changes: Mapping[str, Any], place: str = "overrides") -> RunConfig:
    """`config` with the settings named in `changes` replaced, validated anew.

    Raises:
        InputError: a name does not exist, with the closest one that does, or a value is not allowed.
    """
    plain, known = to_json(config), flatten(config)
    for name, value in changes.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            cure = f"did you mean {close[0]}?" if close else f"there are {', '.join(list(known)[:12])}, …"
            raise InputError(f"{place}: {name}: no such setting; {cure}")
        *path, last = name.split(".")
        functools.reduce(dict.__getitem__, path, plain)[last] = value
    return from_json(type(config), plain)


def read_overrides(path: str) -> dict[str, Any]:
    """The changes in a JSON file such as `tune` writes: dotted names and values.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    example = '{"loss.semantic": 0.2, …}'
    try:
        changes = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--overrides {path}: {error.strerror}; name a JSON file such as {example}") from None
    except ValueError as error:
        raise InputError(f"--overrides {path}: not JSON ({error}); write {example}") from None
    if not isinstance(changes, dict):
        raise InputError(f"--overrides {path}: holds a {type(changes).__name__}; write {example}")
    return changes
