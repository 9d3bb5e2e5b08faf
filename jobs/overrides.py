"""The file, or the JSON itself, behind `--overrides`."""

from __future__ import annotations

from typing import Any

from aunet.documents import read_object
from aunet.errors import InputError

OPTION = "--overrides"
EXAMPLE = '{"loss.semantic": 0.2, …}'


def read_overrides(source: str) -> dict[str, Any]:
    """The changes in a JSON file such as `tune` writes, or in the JSON itself: dotted names and values.

    Args:
        source: a path, a URI, or JSON that starts with `{`.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    name = source_name(source)
    try:
        return read_object(source if name == OPTION else _read(source), name)
    except InputError as error:
        label = "" if str(error).startswith(OPTION) else f"{OPTION} "
        raise InputError(
            f"{label}{problem}; give a JSON file, or JSON, such as {EXAMPLE}" for problem in error.problems
        ) from None


def source_name(source: str) -> str:
    """What the changes are called in messages: the option for JSON on the command line, else also the file."""
    return OPTION if source.lstrip().startswith("{") else f"{OPTION} {source}"


def _read(uri: str) -> bytes:
    from pipelines.store import storage  # a command line without such a file does without storage

    return storage.read_bytes(uri)
