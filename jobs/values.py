"""Values of options: from words to plain JSON values, and their types and values in words."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from aunet.errors import InputError

NAMES = {int: "INT", float: "FLOAT", str: "TEXT", bool: "{true,false}"}


def setting_types(config: Any, prefix: str = "") -> dict[str, Any]:
    """The type of every setting of a configuration, by its dotted name."""
    hints = get_type_hints(type(config))
    types: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        types |= setting_types(value, f"{name}.") if dataclasses.is_dataclass(value) else {name: hints[field.name]}
    return types


def read_value(kind: Any, words: Sequence[str], option: str) -> Any:
    """The value of type `kind` that `words` spell, as plain JSON.

    A word that spells no such value is returned unchanged: `from_json` refuses it, with the reason.

    Raises:
        InputError: one value was expected, and none or several are given.
    """
    options, optional = _without_none(kind)
    if optional and list(words) == ["None"]:
        return None
    inner = next((option for option in options if (get_origin(option) is tuple) == (len(words) > 1)), options[0])
    if get_origin(inner) is tuple:
        element = get_args(inner)[0]
        if get_origin(element) is not tuple:
            return [_scalar(element, word) for word in words]
        size = len(get_args(element))
        rows = [words[start : start + size] for start in range(0, len(words), size)]
        return [read_value(element, row, option) for row in rows]
    if len(words) != 1:
        given = f"{option} = {' '.join(words)!r}" if words else f"{option} has no value"
        raise InputError(f"{given}: give one value of type {type_name(kind)}")
    return _scalar(inner, words[0])


def takes_several(kind: Any) -> bool:
    """Whether a value of this type is spelled by more than one word."""
    return any(get_origin(option) is tuple for option in _without_none(kind)[0])


def type_name(kind: Any) -> str:
    """A type as help shows it: FLOAT, {sgd,adamw}, INT INT, [INT …], TEXT|None."""
    options, optional = _without_none(kind)
    names = [_option_name(option) for option in options]
    return "|".join(filter(None, [*names, "None" if optional else ""]))


def _option_name(inner: Any) -> str:
    arguments = get_args(inner)
    if get_origin(inner) is Literal:
        name = f"{{{','.join(map(str, arguments))}}}"
    elif get_origin(inner) is tuple:
        elements = " ".join(type_name(element) for element in arguments if element is not Ellipsis)
        name = f"[{elements} …]" if arguments[-1] is Ellipsis else elements
    else:
        name = NAMES.get(inner, "")
    return name


def in_words(value: Any) -> str:
    """A value as it would be typed."""
    if isinstance(value, tuple):
        flat = itertools.chain.from_iterable(v if isinstance(v, tuple) else (v,) for v in value)
        return " ".join(map(in_words, flat))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without_none(kind: Any) -> tuple[list[Any], bool]:
    """The types that a value may have besides None, and whether it may be None."""
    arguments = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    options = [argument for argument in arguments if argument is not NoneType]
    return options, len(options) < len(arguments)


def _scalar(kind: Any, word: str) -> Any:
    if kind is bool:
        return {"true": True, "false": False}.get(word.lower(), word)
    if get_origin(kind) is Literal:
        return next((choice for choice in get_args(kind) if str(choice) == word), word)
    try:
        return kind(word) if kind in (int, float) else word
    except ValueError:
        return word
