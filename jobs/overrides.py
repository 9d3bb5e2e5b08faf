"""The file, or the JSON itself, behind `--overrides`."""

from __future__ import annotations

import json
from typing import Any

from aunet.errors import InputError

EXAMPLE = '{"loss.semantic": 0.2, …}'


def read_overrides(source: str) -> dict[str, Any]:
    """The changes in a JSON file such as `tune` writes, or in the JSON itself: dotted names and values.

    Args:
        source: a path, a URI, or JSON that starts with `{`.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    try:
        changes = json.loads(source if source.lstrip().startswith("{") else _read(source))
    except InputError as error:
        raise InputError(f"--overrides {error}; name a JSON file such as {EXAMPLE}") from None
    except ValueError as error:
        raise InputError(f"--overrides {source}: not JSON ({error}); write {EXAMPLE}") from None
    if not isinstance(changes, dict):
        raise InputError(f"--overrides {source}: holds a {type(changes).__name__}; write {EXAMPLE}")
    return changes


def _read(uri: str) -> bytes:
    from pipelines.store import storage  # a command line without such a file does without storage

    return storage.read_bytes(uri)
