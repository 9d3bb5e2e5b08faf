"""A job as a KubeRay RayJob: a cluster created for it, as large as its verb needs, gone when it has ended."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from aunet.errors import InputError
from pipelines.settings.cluster_config import pairs
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.store.addresses import shown
from pipelines.targets.image import image_problem
from pipelines.targets.patching import merged, patch_of
from pipelines.targets.pods import (
    GPU,
    QUEUE,
    STAY,
    container,
    labels,
    metadata,
    plain_container,
    pod,
    shared_memory,
    stable,
    tolerations,
)
from pipelines.targets.submission import Submission

DRAIN_SECONDS = 90
"""A pod that is to go reports it to Ray, which schedules nothing there any more; what runs has that long to finish."""
GRACE_SECONDS = 120
TRAINING = ("train", "evaluate", "run", "tune", "retrain")
"""Verbs that use the workers of a training; all others get one small node without GPUs."""


def render_rayjob(job: Submission) -> dict[str, Any]:
    """The RayJob that runs `job`, with `cluster.patch` merged into it.

    Raises:
        InputError: no cluster of these settings could run it.
    """
    cluster = job.config.cluster
    if problems := cluster_problems(job):
        raise InputError(problems)
    patch = patch_of(cluster.patch)
    own = {**labels(job), **({QUEUE: cluster.queue} if cluster.queue else {})}
    rayjob = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": job.id,
            "namespace": cluster.namespace,
            "labels": own,
            "annotations": {"aunet/image": cluster.image, "aunet/code": job.code},
        },
        "spec": {
            "entrypoint": shlex.join(["python", "-m", "pipelines.targets.entry", *job.words]),
            "submissionMode": "K8sJobMode",
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": int(cluster.keep_hours * 3600),
            "activeDeadlineSeconds": int(cluster.deadline_hours * 3600),
            "backoffLimit": cluster.retries,
            "submitterPodTemplate": merged(_submitter(job), patch.get("submitter", {})),
            "rayClusterSpec": {
                "rayVersion": version("ray"),
                "authOptions": {"mode": "token"},
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0", "num-gpus": "0", "dashboard-host": "0.0.0.0"},
                    "template": merged(_head(job), patch.get("head", {})),
                },
                "workerGroupSpecs": [_workers(job, patch.get("workers", {}))],
            },
        },
    }
    return merged(rayjob, patch.get("rayjob", {}))


def cluster_problems(job: Submission) -> list[str]:
    """What keeps this configuration from running in pods, each with its cure."""
    config, cluster, problems = job.config, job.config.cluster, []
    if trouble := image_problem(cluster.image):
        problems.append(f"cluster.image = {trouble}")
    if not storage.is_s3(job.environment.get("AUNET_STORE", "")):
        problems.append("AUNET_STORE: pods share no folder; set it to s3://bucket/prefix")
    if config.data.shapes is None and not storage.is_remote(config.data.root):
        problems.append(f"data.root = {config.data.root!r}: pods do not see this machine; use s3://bucket/prefix")
    tracking = job.environment.get("MLFLOW_TRACKING_URI", "")
    if tracking and (not storage.is_remote(tracking) or urlsplit(tracking).scheme == "sqlite"):
        problems.append(
            f"MLFLOW_TRACKING_URI = {shown(tracking)!r}: a file of this machine; name a server or unset it here"
        )
    if config.train.use_gpu and not cluster.gpus_per_node:
        problems.append("cluster.gpus_per_node = 0: train.use_gpu needs GPUs; use 1 or more")
    if cluster.shm_gb >= cluster.memory_gb:
        problems.append(f"cluster.shm_gb = {cluster.shm_gb}: counts as memory; use less than {cluster.memory_gb}")
    return problems


def num_workers(config: RunConfig, verb: str) -> int:
    """Training processes that the cluster carries at a time."""
    if verb != "tune":
        return config.train.max_workers
    return max(config.train.max_workers, config.tune.num_workers * max(config.tune.max_concurrent, 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """Of the group of workers."""

    nodes: int
    gpus: int
    cpus: int
    memory_gb: int
    shm_gb: int


def size_of(job: Submission) -> Size:
    """As many nodes as the job needs for its whole life, GPUs only where its verb uses them."""
    config, cluster = job.config, job.config.cluster
    if job.verb not in TRAINING:
        memory = cluster.small_memory_gb
        return Size(nodes=1, gpus=0, cpus=cluster.small_cpus, memory_gb=memory, shm_gb=max(memory // 4, 1))
    needed = num_workers(config, job.verb)
    per_node = cluster.gpus_per_node if config.train.use_gpu else cluster.cpus_per_node
    return Size(
        nodes=math.ceil(needed / per_node),
        gpus=min(needed, per_node) if config.train.use_gpu else 0,
        cpus=cluster.cpus_per_node,
        memory_gb=cluster.memory_gb,
        shm_gb=cluster.shm_gb,
    )


def _workers(job: Submission, patch: dict[str, Any]) -> dict[str, Any]:
    cluster, size = job.config.cluster, size_of(job)
    resources = {"cpu": str(size.cpus), "memory": f"{size.memory_gb}Gi"}
    if size.gpus:
        resources[GPU] = str(size.gpus)
    reason = "--reason DRAIN_NODE_REASON_PREEMPTION --reason-message 'the pod is to go'"
    drain = f"ray drain-node {reason} --deadline-remaining-seconds {DRAIN_SECONDS}; sleep {DRAIN_SECONDS}"
    template = {
        "metadata": metadata(job),
        "spec": {
            **pod(cluster),
            **({"runtimeClassName": cluster.runtime_class} if cluster.runtime_class and size.gpus else {}),
            **({"nodeSelector": selector} if (selector := _selector(job)) else {}),
            **({} if cluster.spot else {"affinity": stable()}),
            "volumes": shared_memory(size.shm_gb),
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "tolerations": tolerations(cluster, gpus=size.gpus > 0),
            "containers": [
                {
                    **container(job, "ray-worker", resources),
                    "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
                    "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", drain]}}},
                }
            ],
        },
    }
    return {
        "groupName": "gpu" if size.gpus else "cpu",
        # The cluster is the job's own: it has its size from beginning to end.
        "replicas": size.nodes,
        "minReplicas": size.nodes,
        "maxReplicas": size.nodes,
        "rayStartParams": {},
        "template": merged(template, patch),
    }


def _selector(job: Submission) -> dict[str, str]:
    return pairs(job.config.cluster.node_selector)


def _head(job: Submission) -> dict[str, Any]:
    """On a node that stays: without its head the whole cluster starts again."""
    cluster = job.config.cluster
    resources = {"cpu": str(cluster.head_cpus), "memory": f"{cluster.head_memory_gb}Gi"}
    return {
        "metadata": metadata(job, **STAY),
        "spec": {
            **pod(cluster),
            "volumes": shared_memory(max(cluster.head_memory_gb // 4, 1)),
            "affinity": stable(),
            "containers": [
                {
                    **container(job, "ray-head", resources),
                    "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
                    "ports": [
                        {"name": "gcs-server", "containerPort": 6379},
                        {"name": "dashboard", "containerPort": 8265},
                        {"name": "client", "containerPort": 10001},
                    ],
                }
            ],
        },
    }


def _submitter(job: Submission) -> dict[str, Any]:
    """Sends the command to the cluster and shows its log: `kubectl logs job/ID`."""
    cluster = job.config.cluster
    small = {"cpu": "500m", "memory": "1Gi"}
    return {
        "metadata": metadata(job, **STAY),
        "spec": {
            **pod(cluster),
            "restartPolicy": "Never",
            "containers": [plain_container(cluster, "ray-job-submitter", small)],
        },
    }
