"""cluster.yaml, the cluster of Ray's launcher on AWS, checked without AWS."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
from ray.autoscaler._private.util import prepare_config, validate_config

SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|aws_secret|secret_access_key|RAY_AUTH_TOKEN=[^$\s]|://[^/\s@]+:[^/\s@]+@", re.IGNORECASE
)
"""What has no place in a file that is shared."""


def launcher_problems(config: Mapping[str, Any]) -> list[str]:
    """What is wrong with a cluster.yaml of Ray's cluster launcher on AWS: Ray's own schema, then our rules."""
    try:
        validate_config(prepare_config(copy.deepcopy(dict(config))))
    except jsonschema.ValidationError as error:
        return [f"{error.json_path.removeprefix('$.')}: {error.message[:300]}"]
    except (ValueError, RuntimeError, AssertionError, KeyError) as error:
        return [f"{type(error).__name__}: {error}"]
    problems = list(_mistakes(config))
    if match := SECRETS.search(json.dumps(config)):
        problems.append(f"{match[0][:12]}…: a credential; use the instance profile, and the environment for the token")
    return problems


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
    if not config.get("idle_timeout_minutes"):
        yield "idle_timeout_minutes: idle GPUs must be released; set it"
    docker = config.get("docker", {})
    if not any(option.startswith("--shm-size=") for option in docker.get("run_options", [])):
        yield "docker.run_options: --shm-size is missing; Ray's object store and the loaders need /dev/shm"
    if not any(option.startswith("--env RAY_AUTH_MODE=token") for option in docker.get("run_options", [])):
        yield "docker.run_options: --env RAY_AUTH_MODE=token is missing; an open job server runs anyone's code"
