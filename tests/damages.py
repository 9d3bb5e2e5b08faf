"""Ways to damage a manifest of the repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


def documents(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / file).read_text()))


def at(document: dict[str, Any], path: str) -> dict[str, Any]:
    node: Any = document
    for name in filter(None, path.split(".")):
        node = node[int(name)] if name.isdigit() else node[name]
    return node


def drop(path: str, name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda document: at(document, path).pop(name)


def put(path: str, **values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda document: at(document, path).update(values)


def misspell(path: str, name: str, wrong: str) -> Callable[[dict[str, Any]], Any]:
    return lambda document: at(document, path).update({wrong: at(document, path).pop(name)})
