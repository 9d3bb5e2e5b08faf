"""Frozen configuration dataclasses to plain JSON values and back."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal, get_args, get_origin, get_type_hints

from aunet.errors import InputError


def to_json(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON values; `from_json` reads it back."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(kind: Any, value: Any, field: str = "config") -> Any:
    """Build `kind` (a config dataclass, a tuple, a union with None or a scalar) from plain JSON values.

    Args:
        field: the dotted name of `value`, for messages.

    Raises:
        InputError: a field is unknown, with its name and the names that exist; or a value is refused.
    """
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        if not isinstance(value, dict):
            raise InputError(f"{field} = {value!r}: give an object with the fields {', '.join(hints)}")
        unknown = sorted(set(value) - set(hints))
        if unknown:
            raise InputError(f"{field}.{unknown[0]}: no such field; there are {', '.join(hints)}")
        return kind(**{k: from_json(hints[k], v, f"{field}.{k}") for k, v in value.items()})
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if not isinstance(value, (list, tuple)):
            raise InputError(f"{field} = {value!r}: give a list")
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        if len(kinds) != len(value):
            raise InputError(f"{field} = {value!r}: give {len(kinds)} values")
        return tuple(from_json(k, v, field) for k, v in zip(kinds, value, strict=True))
    options = [k for k in get_args(kind) if k is not type(None)] if get_origin(kind) not in (None, Literal) else []
    if value is not None and len(options) == 1:
        return from_json(options[0], value, field)
    if get_origin(kind) is Literal and value not in get_args(kind):
        raise InputError(f"{field} = {value!r}: use one of {', '.join(map(repr, get_args(kind)))}")
    if kind in (int, float, str, bool) and type(value) not in ((int, float) if kind is float else (kind,)):
        raise InputError(f"{field} = {value!r}: give a value of type {kind.__name__}")
    return value
