"""What names the inputs of a task: the same in every process, and another one for other inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import fields, is_dataclass
from typing import Any

from pipelines.data.importing.record import ImportItem
from pipelines.store import storage


def task_key(head: Any, items: Iterable[ImportItem]) -> str:
    """32 hex digits over the items, with the files that they are made of, and `head`, which is plain JSON."""
    inputs = [
        [
            [storage.absolute(item.image_uri), item.file_name, item.image_id, item.problem],
            item.entries,
            [[file.path, file.size, file.modified] for file in item.sources],
        ]
        for item in items
    ]
    return hashlib.sha256(json.dumps([head, inputs], sort_keys=True).encode()).hexdigest()[:32]


def stable(value: Any) -> Any:
    """A drawer or settings as plain JSON that is the same in every process: sets and mappings are sorted.

    Raises:
        TypeError: it holds something whose text may differ from process to process.
    """
    if is_dataclass(value):
        return [type(value).__name__, {field.name: stable(getattr(value, field.name)) for field in fields(value)}]
    if isinstance(value, Mapping):
        return _sorted([stable(key), stable(inner)] for key, inner in value.items())
    if isinstance(value, Set):
        return _sorted(map(stable, value))
    if isinstance(value, list | tuple):
        return [stable(inner) for inner in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be part of a key: it may differ from process to process")


def _sorted(values: Iterable[Any]) -> list[Any]:
    return sorted(values, key=lambda value: json.dumps(value, sort_keys=True))
