"""Which numbers a setting accepts, written into its type: `lr: Annotated[float, Range(above=0)]`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from aunet.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """An interval; a limit that is None does not exist."""

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None

    def __contains__(self, number: float) -> bool:
        return (
            (self.above is None or number > self.above)
            and (self.at_least is None or number >= self.at_least)
            and (self.below is None or number < self.below)
            and (self.at_most is None or number <= self.at_most)
        )

    def __str__(self) -> str:
        limits = {"above": self.above, "at least": self.at_least, "below": self.below, "at most": self.at_most}
        return " and ".join(f"{words} {limit:g}" for words, limit in limits.items() if limit is not None)


Share = Annotated[float, Range(at_least=0, at_most=1)]
Count = Annotated[int, Range(at_least=0)]
AtLeastOne = Annotated[int, Range(at_least=1)]
Seed = Annotated[int, Range(at_least=0, below=2**32)]
"""What numpy accepts as one."""


def check_ranges(config: Any, section: str) -> None:
    """Accept the numbers of a frozen dataclass of settings: call this first in its `__post_init__`.

    Args:
        section: what the fields are called before the dot, for messages.

    Raises:
        InputError: every number that is NaN, infinite or outside of the `Range` in its type.
    """
    problems = [
        f"{section}.{name} = {getattr(config, name)!r:.120}: use {'numbers' if number is not value else 'a number'}"
        f"{f' {interval}' if str(interval) else ''}, not {number!r:.40}"
        for name, kind in _hints(type(config)).items()
        for value in [getattr(config, name)]
        for number, interval in _numbers(value, kind)
        if not _is_finite(number) or number not in interval
    ]
    if problems:
        raise InputError(problems)


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer of hundreds of digits
        return False


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _numbers(value: Any, kind: Any) -> Iterator[tuple[float, Range]]:
    """Every number in the value of a setting, with the interval that its type gives it."""
    if get_origin(kind) in (Union, UnionType):
        options = [option for option in get_args(kind) if option is not NoneType]
        kind = next((option for option in options if _is_tuple(option) == isinstance(value, tuple)), kind)
    marks = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    if isinstance(value, tuple):
        kinds = [inner for inner in get_args(kind) if inner is not Ellipsis]
        for number, element in enumerate(value):
            yield from _numbers(element, kinds[min(number, len(kinds) - 1)])
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value, next((mark for mark in marks if isinstance(mark, Range)), Range())


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple
