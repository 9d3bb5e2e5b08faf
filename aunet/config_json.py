"""Frozen dataclasses to plain JSON values and back, every value of its declared type."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import MISSING
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from aunet.errors import InputError


def to_json(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON values; `from_json` reads it back."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(kind: Any, value: Any, field: str = "config") -> Any:
    """Build a value of type `kind` from plain JSON values.

    Args:
        kind: a dataclass, tuple, dict or scalar, one of several scalars and a tuple, or any of these or None.
        field: the dotted name of `value`, for messages.

    Raises:
        InputError: a field is unknown or missing, with its name and the names that exist; or a value is refused.
    """
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    options = [k for k in choices if k is not NoneType]
    if value is None and NoneType in choices:
        return None
    if len(options) == 1:
        return from_json(options[0], value, field)
    if options:
        fitting = [option for option in options if _fits(option, value)]
        if not fitting:
            names = " or ".join("list" if get_origin(option) is tuple else option.__name__ for option in options)
            raise InputError(f"{field} = {value!r:.120}: give a value of type {names}")
        return from_json(fitting[0], value, field)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _build(kind, value, field)
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if not isinstance(value, (list, tuple)):
            raise InputError(f"{field} = {value!r:.120}: give a list")
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        if len(kinds) != len(value):
            raise InputError(f"{field} = {value!r:.120}: give {len(kinds)} values")
        return tuple(from_json(k, v, field) for k, v in zip(kinds, value, strict=True))
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise InputError(f"{field} = {value!r:.120}: give an object")
        key_kind, inner_kind = get_args(kind)
        return {_key(key_kind, key, field): from_json(inner_kind, v, f"{field}.{key}") for key, v in value.items()}
    if get_origin(kind) is Literal and (type(value), value) not in [(type(v), v) for v in get_args(kind)]:
        raise InputError(f"{field} = {value!r:.120}: use one of {', '.join(map(repr, get_args(kind)))}")
    if kind in (int, float, str, bool) and type(value) not in ((int, float) if kind is float else (kind,)):
        raise InputError(f"{field} = {value!r:.120}: give a value of type {kind.__name__}")
    return _number(value) if kind is float and value is not None else value


def _number(value: float) -> float:
    """A number as a float: 1 and 1.0 are one setting, and must have one fingerprint whoever wrote them as JSON."""
    try:
        return float(value)
    except OverflowError:  # its range refuses it
        return value


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value is meant to be of this type, one of several."""
    return isinstance(value, (list, tuple)) if get_origin(kind) is tuple else type(value) is kind


def _key(kind: Any, key: Any, field: str) -> Any:
    """A key of an object as `kind`: JSON writes a number as text."""
    if kind is not int or isinstance(key, int):
        return key
    if not re.fullmatch(r"-?\d{1,19}", key):
        raise InputError(f"{field}.{key!r:.40}: give a whole number as the key")
    return int(key)


def _build(kind: Any, value: Any, field: str) -> Any:
    hints = get_type_hints(kind)
    if not isinstance(value, dict):
        raise InputError(f"{field} = {value!r:.120}: give an object with the fields {', '.join(hints)}")
    if unknown := sorted(map(str, value.keys() - hints.keys())):
        raise InputError(f"{field}.{unknown[0]}: no such field; there are {', '.join(hints)}")
    needed = [f.name for f in dataclasses.fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in needed if name not in value]:
        raise InputError(f"{field}: lacks {', '.join(missing)}; add it")
    return kind(**{name: from_json(hints[name], inner, f"{field}.{name}") for name, inner in value.items()})
