"""RayJobs checked without a cluster: their fields, and what these mean together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

from aunet.errors import InputError
from pipelines.targets.pods import GPU, MAX_NAME


def _object(required: str, optional: str = "", **known: Any) -> dict[str, Any]:
    """An object with these fields and no others; `known` defines what a field holds, all others may hold anything."""
    names = [*required.split(), *optional.split()]
    fields = {name: known.get(name, True) for name in names}
    return {"type": "object", "properties": fields, "required": required.split(), "additionalProperties": False}


def _list(items: Any, least: int = 1) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least}


TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}
STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
NAME = {"type": "string", "maxLength": MAX_NAME, "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"}
RESOURCES = _object(
    "requests limits",
    requests=_object("cpu memory", GPU, cpu=TEXT, memory=TEXT),
    limits=_object("cpu memory", GPU, cpu=TEXT, memory=TEXT),
)
CONTAINER = _object(
    "name image resources securityContext",
    "imagePullPolicy env envFrom volumeMounts ports lifecycle command",
    name=TEXT,
    image=TEXT,
    resources=RESOURCES,
    env=_list(_object("name value", name=TEXT, value={"type": "string"}), 0),
    envFrom=_list(_object("secretRef", secretRef=_object("name", "optional", name=TEXT))),
    volumeMounts=_list(_object("name mountPath", name=TEXT, mountPath=TEXT)),
)
SHM = _object("name emptyDir", emptyDir=_object("medium sizeLimit", medium={"const": "Memory"}, sizeLimit=TEXT))
HABITS = "priorityClassName imagePullSecrets runtimeClassName nodeSelector"
POD = _object(
    "serviceAccountName securityContext volumes containers",
    f"affinity tolerations terminationGracePeriodSeconds {HABITS}",
    serviceAccountName=TEXT,
    volumes=_list(SHM),
    containers=_list(CONTAINER),
    tolerations=_list(_object("key operator effect"), 0),
    terminationGracePeriodSeconds=COUNT,
    imagePullSecrets=_list(_object("name", name=TEXT)),
    nodeSelector=STRINGS,
)
METADATA = _object("labels", "annotations", labels=STRINGS, annotations=STRINGS)
TEMPLATE = _object("metadata spec", metadata=METADATA, spec=POD)
HEAD = _object("rayStartParams template", rayStartParams=STRINGS, template=TEMPLATE)
WORKERS = _object(
    "groupName replicas minReplicas maxReplicas rayStartParams template",
    groupName=TEXT,
    replicas={"type": "integer", "minimum": 1},
    minReplicas=COUNT,
    maxReplicas=COUNT,
    rayStartParams=STRINGS,
    template=TEMPLATE,
)
CLUSTER = _object(
    "rayVersion authOptions headGroupSpec workerGroupSpecs",
    rayVersion=TEXT,
    authOptions=_object("mode", mode={"const": "token"}),
    headGroupSpec=HEAD,
    workerGroupSpecs=_list(WORKERS),
)
SUBMITTER_CONTAINER = _object("name image imagePullPolicy resources securityContext", resources=RESOURCES)
SUBMITTER_POD = _object(
    "serviceAccountName restartPolicy securityContext containers",
    HABITS,
    serviceAccountName=TEXT,
    restartPolicy={"const": "Never"},
    containers=_list(SUBMITTER_CONTAINER),
)
SPEC = _object(
    "entrypoint submissionMode shutdownAfterJobFinishes ttlSecondsAfterFinished activeDeadlineSeconds backoffLimit "
    "submitterPodTemplate rayClusterSpec",
    entrypoint=TEXT,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "SidecarMode"]},
    shutdownAfterJobFinishes={"const": True},
    ttlSecondsAfterFinished=COUNT,
    activeDeadlineSeconds={"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    backoffLimit=COUNT,
    submitterPodTemplate=_object("metadata spec", metadata=METADATA, spec=SUBMITTER_POD),
    rayClusterSpec=CLUSTER,
)
RAYJOB = _object(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=_object(
        "name namespace labels annotations", name=NAME, namespace=TEXT, labels=STRINGS, annotations=STRINGS
    ),
    spec=SPEC,
)
"""The part of KubeRay's RayJob that is rendered here; any other field is a mistake."""


def check_rayjob(rayjob: Mapping[str, Any], is_patched: bool = False) -> None:
    """Validate a RayJob before it is sent.

    Args:
        is_patched: `cluster.patch` may have added fields that are not rendered here: only what they mean together is
            checked, and the API server is asked to refuse fields that it does not know.

    Raises:
        InputError: with every problem and where it is.
    """
    if problems := patched_problems(rayjob) if is_patched else rayjob_problems(rayjob):
        raise InputError(f"RayJob: {problem}" for problem in problems)


def check_rayservice(rayservice: Mapping[str, Any], is_patched: bool = False) -> None:
    """Validate the cluster of a RayService before it is sent, as `check_rayjob` does.

    Raises:
        InputError: with every problem and where it is.
    """
    errors = jsonschema.Draft202012Validator(CLUSTER).iter_errors(rayservice["spec"]["rayClusterConfig"])
    problems = (
        [] if is_patched else [f"{error.json_path.removeprefix('$.')}: {error.message[:300]}" for error in errors]
    )
    if problems := problems or patched_problems(rayservice, "rayClusterConfig"):
        raise InputError(f"RayService: {problem}" for problem in problems)


def rayjob_problems(rayjob: Mapping[str, Any]) -> list[str]:
    """What is wrong with a RayJob: fields first, then what they mean together."""
    errors = jsonschema.Draft202012Validator(RAYJOB).iter_errors(dict(rayjob))
    problems = [f"{error.json_path.removeprefix('$.')}: {error.message[:300]}" for error in errors]
    return problems or list(_contradictions(rayjob["spec"]["rayClusterSpec"]))


def patched_problems(rayjob: Mapping[str, Any], cluster: str = "rayClusterSpec") -> list[str]:
    """What contradicts itself in a RayJob after a patch, or lacks what any RayJob has.

    Args:
        cluster: field of its specification that holds the cluster's.
    """
    try:
        return list(_contradictions(rayjob["spec"][cluster]))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return [f"cluster.patch: what it leaves is no RayJob any more ({type(error).__name__}: {error}); correct it"]


def _contradictions(cluster: Mapping[str, Any]) -> Iterator[str]:
    if cluster["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
        yield 'headGroupSpec: the head must run no work; set rayStartParams num-cpus: "0"'
    for group in cluster["workerGroupSpecs"]:
        name = f"workerGroupSpecs {group['groupName']}"
        if not group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
            yield f"{name}: replicas must be between minReplicas and maxReplicas"
        pod = group["template"]["spec"]
        resources = pod["containers"][0]["resources"]
        for_gpus = group["groupName"] == "gpu" or any(t.get("key") == GPU for t in pod.get("tolerations", []))
        if for_gpus and int(resources["limits"].get(GPU, 0)) < 1:
            yield f"{name}: a group for GPUs without a GPU; set resources.limits {GPU}"
        if resources["requests"] != resources["limits"]:
            yield f"{name}: requests must equal limits, or the pod is the first to be evicted"
        if pod.get("terminationGracePeriodSeconds", 30) < 60:
            yield f"{name}: terminationGracePeriodSeconds must leave time to drain; use 60 or more"
