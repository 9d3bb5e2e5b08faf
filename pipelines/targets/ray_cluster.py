"""The Ray cluster of a job or a service on Kubernetes: a head that runs no tasks, and one group of workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from pipelines.settings.cluster_config import ClusterConfig, pairs
from pipelines.store import storage
from pipelines.store.addresses import shown
from pipelines.targets.image import image_problem
from pipelines.targets.patching import merged
from pipelines.targets.pods import GPU, STAY, Work, container, metadata, pod, shared_memory, stable, tolerations

DRAIN_SECONDS = 90
"""A pod that is to go reports it to Ray, which schedules nothing there any more; what runs has that long to finish."""
GRACE_SECONDS = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """Of the group of workers."""

    nodes: int
    gpus: int
    cpus: int
    memory_gb: int
    shm_gb: int

    @classmethod
    def without_gpus(cls, cluster: ClusterConfig, nodes: int = 1) -> Size:
        """Small nodes, for what trains nothing."""
        memory = cluster.small_memory_gb
        return cls(nodes=nodes, gpus=0, cpus=cluster.small_cpus, memory_gb=memory, shm_gb=max(memory // 4, 1))


def ray_cluster(job: Work, size: Size, patch: Mapping[str, Any]) -> dict[str, Any]:
    """The specification of a RayCluster.

    Args:
        patch: what `cluster.patch` changes in the pod templates `head` and `workers`.
    """
    return {
        "rayVersion": version("ray"),
        "authOptions": {"mode": "token"},
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0", "num-gpus": "0", "dashboard-host": "0.0.0.0"},
            "template": merged(_head(job), patch.get("head", {})),
        },
        "workerGroupSpecs": [_workers(job, size, patch.get("workers", {}))],
    }


def address_problems(cluster: ClusterConfig, environment: Mapping[str, str]) -> Iterator[str]:
    """What keeps any pod from reaching its image, the store or MLflow, each with its cure."""
    if trouble := image_problem(cluster.image):
        yield f"cluster.image = {trouble}"
    if not storage.is_s3(environment.get("AUNET_STORE", "")):
        yield "AUNET_STORE: pods share no folder; set it to s3://bucket/prefix"
    tracking = environment.get("MLFLOW_TRACKING_URI", "")
    if tracking and (not storage.is_remote(tracking) or urlsplit(tracking).scheme == "sqlite"):
        yield f"MLFLOW_TRACKING_URI = {shown(tracking)!r}: a file of this machine; name a server or unset it here"
    if cluster.shm_gb >= cluster.memory_gb:
        yield f"cluster.shm_gb = {cluster.shm_gb}: counts as memory; use less than {cluster.memory_gb}"


def _workers(job: Work, size: Size, patch: dict[str, Any]) -> dict[str, Any]:
    cluster = job.cluster
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
            **({"nodeSelector": selector} if (selector := pairs(cluster.node_selector)) else {}),
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


def _head(job: Work) -> dict[str, Any]:
    """On a node that stays: without its head the whole cluster starts again."""
    cluster = job.cluster
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
