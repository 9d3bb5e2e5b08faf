"""cluster.yaml, the cluster of Ray's launcher on AWS, checked without AWS."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
from ray.autoscaler._private.util import prepare_config, validate_config

from pipelines.store.addresses import holds_credentials, masked
from pipelines.targets.image import image_problem

SECRET_FIELD = re.compile(r"(?:secret|token|password|passwd|access_key)$", re.IGNORECASE)
REFERENCE = re.compile(r"\$\([^)]*\)|\$\{?\w+\}?")
"""A variable or a command of a shell, which stands for a secret without holding it."""


def launcher_problems(config: Mapping[str, Any]) -> list[str]:
    """What is wrong with a cluster.yaml of Ray's cluster launcher on AWS: Ray's own schema, then our rules."""
    try:
        validate_config(prepare_config(copy.deepcopy(dict(config))))
    except jsonschema.ValidationError as error:
        return [f"{error.json_path.removeprefix('$.')}: {masked(error.message)[:300]}"]
    except (ValueError, RuntimeError, AssertionError, KeyError) as error:
        return [f"{type(error).__name__}: {masked(str(error))}"]
    cure = "use the instance profile, and the environment for the token"
    return [*_mistakes(config), *(f"{field}: holds a credential; {cure}" for field in _credentials(config, "", ""))]


def _credentials(value: Any, field: str, key: str) -> Iterator[str]:
    """Dotted names of the fields that hold a credential."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _credentials(inner, f"{field}.{name}".lstrip("."), str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _credentials(inner, f"{field}[{number}]", key)
    elif isinstance(value, str) and value:
        text = REFERENCE.sub("", value)
        if (SECRET_FIELD.search(key) and text) or holds_credentials(text):
            yield field


def _mistakes(config: Mapping[str, Any]) -> Iterator[str]:
    head_name = config["head_node_type"]
    for name, kind in config["available_node_types"].items():
        node, resources = kind["node_config"], kind.get("resources", {})
        spot = node.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        if not node.get("IamInstanceProfile"):
            yield f"{name}: IamInstanceProfile is missing; access to storage is by role, not by keys"
        if name == head_name:
            if spot:
                yield f"{name}: the head must be on demand; without it the cluster is lost"
            if resources.get("CPU") != 0:
                yield f"{name}: the head must run no work; set resources CPU: 0"
            continue
        if not {"min_workers", "max_workers"} <= kind.keys():
            yield f"{name}: min_workers and max_workers are both needed; a bound that is missing is not zero"
        if not spot:
            yield f"{name}: workers resume from checkpoints; set InstanceMarketOptions MarketType: spot"
        if resources.get("GPU", 0) < 1:
            yield f"{name}: a worker group without GPU; set resources GPU"
        elif not any("--gpus" in option for option in kind.get("docker", {}).get("worker_run_options", [])):
            yield f"{name}: the container would see none of its GPUs; set docker.worker_run_options: [--gpus all]"
    if not config.get("idle_timeout_minutes"):
        yield "idle_timeout_minutes: idle GPUs must be released; set it"
    docker = config.get("docker", {})
    if (trouble := image_problem(str(docker.get("image", "")))) is not None:
        yield f"docker.image: {trouble}"
    if not any(option.startswith("--shm-size=") for option in docker.get("run_options", [])):
        yield "docker.run_options: --shm-size is missing; Ray's object store and the loaders need /dev/shm"
    if not any(option.startswith("--env RAY_AUTH_MODE=token") for option in docker.get("run_options", [])):
        yield "docker.run_options: --env RAY_AUTH_MODE=token is missing; an open job server runs anyone's code"
