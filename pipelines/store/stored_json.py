"""JSON documents of the store, each read with the cure for one that is damaged."""

from __future__ import annotations

from typing import Any

from aunet.documents import read_object
from aunet.errors import InputError
from pipelines.store import storage


def read_stored(uri: str, cure: str) -> dict[str, Any]:
    """The JSON object at `uri`.

    Args:
        cure: what helps where it is damaged.

    Raises:
        InputError: there is none, or it is damaged.
    """
    return stored_object(storage.read_bytes(uri), uri, cure)


def stored_object(data: bytes | str, source_name: str, cure: str) -> dict[str, Any]:
    """The JSON object that was read from `source_name`.

    Raises:
        InputError: it is damaged.
    """
    try:
        return read_object(data, source_name)
    except InputError as error:
        raise InputError(f"{problem}; {cure}" for problem in error.problems) from None
