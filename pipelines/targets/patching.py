"""What a cluster wants that no setting knows: a patch of the manifests, merged as `kubectl patch` merges."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from aunet.documents import type_of
from aunet.errors import InputError
from pipelines.settings.run_config import RunConfig

TARGETS = ("rayjob", "head", "workers", "submitter", "tick", "rayservice")
"""What a patch may change: the RayJob, the RayService, and the pod templates of their parts and of a tick."""
KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "workerGroupSpecs": "groupName",
}
"""The lists whose entries are told apart by a key and merged one by one; every other list is replaced."""
MAX_BYTES = 65_536
CURE = "give a mapping with some of " + ", ".join(TARGETS)


def with_patch_text(config: RunConfig) -> RunConfig:
    """The configuration with the text of `cluster.patch` in place of its file, which no pod could read.

    Raises:
        InputError: the file cannot be read, or is no patch.
    """
    if not config.cluster.patch:
        return config
    text = json.dumps(patch_of(config.cluster.patch), sort_keys=True)
    return replace(config, cluster=replace(config.cluster, patch=text))


def patch_of(text: str) -> dict[str, Any]:
    """The patch by what it changes.

    Args:
        text: `cluster.patch`: a file's name, or its text.

    Raises:
        InputError: it cannot be read, or is no patch.
    """
    if not text:
        return {}
    name = "cluster.patch"
    if ":" not in text or ("\n" not in text and not text.lstrip().startswith("{")):
        name = f"cluster.patch = {text}"
        path = Path(text)
        if not path.is_file():
            raise InputError(f"{name}: no such file; name a YAML file")
        text = path.read_text(encoding="utf-8", errors="replace")
    if len(text.encode()) > MAX_BYTES:
        raise InputError(f"{name}: over {MAX_BYTES} bytes; {CURE}")
    try:
        patch = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{name}: not YAML ({' '.join(str(error).split())[:200]}); {CURE}") from None
    if not isinstance(patch, dict):
        raise InputError(f"{name}: is {type_of(patch)}; {CURE}")
    if unknown := [key for key in patch if key not in TARGETS]:
        raise InputError(f"{name}: unknown key {unknown[0]!r}; {CURE}")
    if wrong := [key for key, value in patch.items() if not isinstance(value, dict)]:
        raise InputError(f"{name}: {wrong[0]} is {type_of(patch[wrong[0]])}; give a mapping")
    return patch


def merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A strategic merge: mappings by key, lists of named things by their names, null deletes, all else is replaced.

    Entries of named lists with `$patch: delete` go; `$patch: replace` keeps nothing of the base.
    """
    if patch.get("$patch") == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    result = copy.deepcopy(dict(base))
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        elif isinstance(value, list) and key in KEYS and isinstance(result.get(key), list):
            result[key] = _merged_list(result[key], value, KEYS[key])
        else:
            result[key] = copy.deepcopy(value)
    return result


def _merged_list(base: list[Any], patch: list[Any], name: str) -> list[Any]:
    result = {entry.get(name): entry for entry in base}
    for entry in patch:
        if not isinstance(entry, Mapping) or name not in entry:
            raise InputError(f"cluster.patch: an entry without {name!r}, which tells it from others; add it")
        if entry.get("$patch") == "delete":
            result.pop(entry[name], None)
        else:
            result[entry[name]] = merged(result.get(entry[name], {}), entry)
    return list(result.values())
