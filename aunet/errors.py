"""The three ways in which a request can fail without a fault of the program."""

from __future__ import annotations

from collections.abc import Iterable


class InputError(ValueError):
    """The input or the configuration is wrong: the command line prints each problem and exits with code 2.

    Args:
        problems: one message, or several; each names the field or file, the value, where it is and the cure.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class Refused(RuntimeError):
    """A gate or a plan refuses, and gives its reason: the command line exits with code 3."""


class Unavailable(RuntimeError):
    """A server does not answer, or refuses: the command line reports it and exits with code 1.

    Not an `InputError`, which is collected or skipped where data are checked: nothing is wrong with the data.
    """


def check(condition: bool, field: str, value: object, cure: str) -> None:
    """Raise `InputError` naming `field`, `value` and `cure` unless `condition` holds."""
    if not condition:
        raise InputError(f"{field} = {value!r}: {cure}")
