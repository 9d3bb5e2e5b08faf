"""What differs from one version of KubeRay to another: its CustomResourceDefinitions, by which a Kubernetes API server
checks and prunes objects, and the times of its events.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.conftest import NEEDS_SAMPLE_DATA, SAMPLE_DATA

VERSIONS = ("v1.5.1", "v1.7.0")


@functools.lru_cache
def schema_of(version: str, plural: str) -> dict[str, Any]:
    """The schema of `v1` in KubeRay's CRD."""
    path = Path(os.environ.get(SAMPLE_DATA) or "nowhere", "kuberay_crds", version, f"ray.io_{plural}.yaml")
    if not path.is_file():
        pytest.skip(f"{NEEDS_SAMPLE_DATA}, with kuberay_crds {version}")
    versions = yaml.safe_load(path.read_text())["spec"]["versions"]
    return next(entry["schema"]["openAPIV3Schema"] for entry in versions if entry["name"] == "v1")


def times_of_event(version: str) -> dict[str, Any]:
    """Of an event that comes again and again. From 1.7.0 on the second time makes it a series, and then it rests."""
    if version == "v1.5.1":
        return {"lastTimestamp": "2026-01-01T00:00:00Z"}
    last = "2026-01-01T00:00:00.005000Z"
    return {"eventTime": last, "series": {"count": 2, "lastObservedTime": last}, "lastTimestamp": None}


def unknown_fields(value: Any, schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Dotted names of the fields that the schema does not know, which are removed from `value`."""
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        keeps = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource")
        for key in list(value):
            name = f"{path}.{key}".lstrip(".")
            if not path and key == "metadata":
                continue  # that of every object, which the schema does not repeat
            if key in known:
                yield from unknown_fields(value[key], known[key], name)
            elif isinstance(others, dict):
                yield from unknown_fields(value[key], others, name)
            elif not others and not keeps:
                del value[key]
                yield name
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from unknown_fields(entry, schema.get("items", {}), f"{path}[{number}]")


def mistakes(value: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """What the API server would answer with status 422."""
    errors = jsonschema.Draft202012Validator(_plain(schema)).iter_errors(value)
    return [f"{error.json_path.removeprefix('$.')}: {error.message[:200]}" for error in errors]


def _plain(schema: Any) -> Any:
    """The schema as JSON Schema has it: Kubernetes writes numbers that may be texts in its own way."""
    if isinstance(schema, dict):
        if schema.get("x-kubernetes-int-or-string"):
            return {"type": ["integer", "string"]}
        kept = {
            key: _plain(value)
            for key, value in schema.items()
            if not key.startswith("x-kubernetes") and key != "format"
        }
        return {**kept, "type": [kept["type"], "null"]} if kept.pop("nullable", False) and "type" in kept else kept
    return [_plain(entry) for entry in schema] if isinstance(schema, list) else schema
