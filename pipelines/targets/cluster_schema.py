"""Manifests checked without a cluster: the RayJobs that are rendered, and cluster.yaml."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from aunet.errors import InputError

GPU = "nvidia.com/gpu"
KEYS = re.compile(r"AKIA[0-9A-Z]{16}|aws_secret|secret_access_key|RAY_AUTH_TOKEN=[^$\s]|://[^/\s@]+:[^/\s@]+@", re.I)
"""What has no place in a file that is shared."""


def _object(required: str, optional: str = "", **known: Any) -> dict[str, Any]:
    """An object with these fields and no others; what a field holds is said in `known`, else left open."""
    names = [*required.split(), *optional.split()]
    fields = {name: known.get(name, True) for name in names}
    return {"type": "object", "properties": fields, "required": required.split(), "additionalProperties": False}


def _list(items: Any, least: int = 1) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least}


TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}
STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
NAME = {"type": "string", "maxLength": 47, "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"}
RESOURCES = _object(
    "requests limits",
    requests=_object("cpu memory", GPU, cpu=TEXT, memory=TEXT),
    limits=_object("cpu memory", GPU, cpu=TEXT, memory=TEXT),
)
CONTAINER = _object(
    "name image resources securityContext",
    "imagePullPolicy env envFrom volumeMounts ports lifecycle",
    name=TEXT, image=TEXT, resources=RESOURCES,
    env=_list(_object("name value", name=TEXT, value={"type": "string"}), 0),
    envFrom=_list(_object("secretRef", secretRef=_object("name", "optional", name=TEXT))),
    volumeMounts=_list(_object("name mountPath", name=TEXT, mountPath=TEXT)),
)  # fmt: skip
SHM = _object("name emptyDir", emptyDir=_object("medium sizeLimit", medium={"const": "Memory"}, sizeLimit=TEXT))
POD = _object(
    "serviceAccountName securityContext volumes containers",
    "affinity tolerations terminationGracePeriodSeconds",
    serviceAccountName=TEXT, volumes=_list(SHM), containers=_list(CONTAINER),
    tolerations=_list(_object("key operator effect"), 0), terminationGracePeriodSeconds=COUNT,
)  # fmt: skip
TEMPLATE = _object("metadata spec", metadata=_object("labels", labels=STRINGS), spec=POD)
HEAD = _object("rayStartParams template", rayStartParams=STRINGS, template=TEMPLATE)
WORKERS = _object(
    "groupName replicas minReplicas maxReplicas rayStartParams template",
    groupName=TEXT, replicas={"type": "integer", "minimum": 1}, minReplicas=COUNT, maxReplicas=COUNT,
    rayStartParams=STRINGS, template=TEMPLATE,
)  # fmt: skip
CLUSTER = _object(
    "rayVersion authOptions headGroupSpec workerGroupSpecs",
    rayVersion=TEXT, authOptions=_object("mode", mode={"const": "token"}),
    headGroupSpec=HEAD, workerGroupSpecs=_list(WORKERS),
)  # fmt: skip
SUBMITTER_CONTAINER = _object("name image imagePullPolicy resources securityContext", resources=RESOURCES)
SUBMITTER_POD = _object(
    "restartPolicy securityContext containers",
    restartPolicy={"const": "Never"}, containers=_list(SUBMITTER_CONTAINER),
)  # fmt: skip
SPEC = _object(
    "entrypoint submissionMode shutdownAfterJobFinishes ttlSecondsAfterFinished activeDeadlineSeconds backoffLimit "
    "submitterPodTemplate rayClusterSpec",
    entrypoint=TEXT, submissionMode={"enum": ["K8sJobMode", "HTTPMode", "SidecarMode"]},
    shutdownAfterJobFinishes={"const": True}, ttlSecondsAfterFinished=COUNT,
    activeDeadlineSeconds={"type": "integer", "minimum": 1, "maximum": 2**31 - 1}, backoffLimit=COUNT,
    submitterPodTemplate=_object("spec", spec=SUBMITTER_POD), rayClusterSpec=CLUSTER,
)  # fmt: skip
RAYJOB = _object(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"}, kind={"const": "RayJob"},
    metadata=_object("name namespace labels", name=NAME, namespace=TEXT, labels=STRINGS), spec=SPEC,
)  # fmt: skip
"""The part of KubeRay's RayJob that is rendered here; any other field is a mistake."""


def check_rayjob(rayjob: Mapping[str, Any]) -> None:
    """Validate a RayJob before it is sent.

    Raises:
        InputError: with every problem and where it is.
    """
    if problems := rayjob_problems(rayjob):
        raise InputError(f"RayJob: {problem}" for problem in problems)


def rayjob_problems(rayjob: Mapping[str, Any]) -> list[str]:
    """What is wrong with a RayJob: fields first, then what they say together."""
    import jsonschema

    errors = jsonschema.Draft202012Validator(RAYJOB).iter_errors(dict(rayjob))
    found = [f"{error.json_path.removeprefix('$.')}: {error.message[:300]}" for error in errors]
    return found or list(_cluster_sense(rayjob["spec"]["rayClusterSpec"]))


def _cluster_sense(cluster: Mapping[str, Any]) -> Iterator[str]:
    if cluster["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
        yield 'headGroupSpec: the head must take no work; set rayStartParams num-cpus: "0"'
    for group in cluster["workerGroupSpecs"]:
        name = f"workerGroupSpecs {group['groupName']}"
        if not group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
            yield f"{name}: replicas must lie between minReplicas and maxReplicas"
        pod = group["template"]["spec"]
        resources = pod["containers"][0]["resources"]
        for_gpus = group["groupName"] == "gpu" or any(t["key"] == GPU for t in pod.get("tolerations", []))
        if for_gpus and int(resources["limits"].get(GPU, 0)) < 1:
            yield f"{name}: a group for GPUs without a GPU; set resources.limits {GPU}"
        if resources["requests"] != resources["limits"]:
            yield f"{name}: requests must equal limits, or the pod is the first to be evicted"
        if pod.get("terminationGracePeriodSeconds", 30) < 60:
            yield f"{name}: terminationGracePeriodSeconds must leave time to drain; take 60 or more"


def launcher_problems(config: Mapping[str, Any]) -> list[str]:
    """What is wrong with a cluster.yaml of Ray's cluster launcher on AWS: Ray's own schema, then our rules."""
    import json

    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    try:
        validate_config(prepare_config(copy.deepcopy(dict(config))))
    except jsonschema.ValidationError as error:
        return [f"{error.json_path.removeprefix('$.')}: {error.message[:300]}"]
    except (ValueError, RuntimeError, AssertionError, KeyError) as error:
        return [f"{type(error).__name__}: {error}"]
    problems = list(_launcher_sense(config))
    if found := KEYS.search(json.dumps(config)):
        problems.append(f"{found[0][:12]}…: a credential; use the instance profile, and the environment for the token")
    return problems


def _launcher_sense(config: Mapping[str, Any]) -> Iterator[str]:
    head_name = config["head_node_type"]
    for name, kind in config["available_node_types"].items():
        node, resources = kind["node_config"], kind.get("resources", {})
        spot = node.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        if not node.get("IamInstanceProfile"):
            yield f"{name}: IamInstanceProfile is missing; storage is reached by role, not by keys"
        if name == head_name:
            if spot:
                yield f"{name}: the head must be on demand; without it the cluster is lost"
            if resources.get("CPU") != 0:
                yield f"{name}: the head must take no work; set resources CPU: 0"
            continue
        if not {"min_workers", "max_workers"} <= kind.keys():
            yield f"{name}: min_workers and max_workers are both needed; a bound that is missing is not zero"
        if not spot:
            yield f"{name}: workers resume from checkpoints; set InstanceMarketOptions MarketType: spot"
        if resources.get("GPU", 0) < 1:
            yield f"{name}: a worker group without GPU; set resources GPU"
    if not config.get("idle_timeout_minutes"):
        yield "idle_timeout_minutes: idle GPUs must go; set it"
    docker = config.get("docker", {})
    if not any(option.startswith("--shm-size=") for option in docker.get("run_options", [])):
        yield "docker.run_options: --shm-size is missing; Ray's object store and the loaders need /dev/shm"
    if not any(option.startswith("--env RAY_AUTH_MODE=token") for option in docker.get("run_options", [])):
        yield "docker.run_options: --env RAY_AUTH_MODE=token is missing; an open job server runs anyone's code"
