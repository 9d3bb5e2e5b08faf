"""A job as a KubeRay RayJob: a cluster created for it, as large as it needs, gone when it has ended."""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from aunet.errors import InputError
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.store.addresses import shown
from pipelines.targets.submission import Submission

HEAD_CPUS, HEAD_MEMORY_GB = 4, 16
"""The head runs the driver and no work."""
DRAIN_SECONDS = 90
"""A pod that is to go reports it to Ray, which schedules nothing there any more; what runs has that long to finish."""
GRACE_SECONDS = 120
GPU = "nvidia.com/gpu"
SPOT_TAINTS = ("cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority", "spot")
SPOT_LABELS = {"eks.amazonaws.com/capacityType": "SPOT", "karpenter.sh/capacity-type": "spot", SPOT_TAINTS[0]: "true"}
"""Labels of pre-emptible nodes, and the values that the head keeps away from."""
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 100,
    "fsGroup": 100,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def render_rayjob(job: Submission) -> dict[str, Any]:
    """The RayJob that runs `job`.

    Raises:
        InputError: no cluster of these settings could run it.
    """
    config, cluster = job.config, job.config.cluster
    if problems := cluster_problems(job):
        raise InputError(problems)
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": job.id, "namespace": cluster.namespace, "labels": labels(job)},
        "spec": {
            "entrypoint": job.command("python"),
            "submissionMode": "K8sJobMode",
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": int(cluster.keep_hours * 3600),
            "activeDeadlineSeconds": int(cluster.deadline_hours * 3600),
            "backoffLimit": cluster.retries,
            "submitterPodTemplate": _submitter(config),
            "rayClusterSpec": {
                "rayVersion": version("ray"),
                "authOptions": {"mode": "token"},
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0", "num-gpus": "0", "dashboard-host": "0.0.0.0"},
                    "template": {"metadata": {"labels": labels(job)}, "spec": _head(job)},
                },
                "workerGroupSpecs": [_workers(job)],
            },
        },
    }


def labels(job: Submission) -> dict[str, str]:
    """How the objects of a job are found."""
    return {"app.kubernetes.io/name": "aunet", "aunet/verb": job.verb, "aunet/preset": job.preset}


def cluster_problems(job: Submission) -> list[str]:
    """What keeps this configuration from running in pods, each with its cure."""
    config, cluster, problems = job.config, job.config.cluster, []
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


def _workers(job: Submission) -> dict[str, Any]:
    config, cluster = job.config, job.config.cluster
    needed = num_workers(config, job.verb)
    per_node = cluster.gpus_per_node if config.train.use_gpu else cluster.cpus_per_node
    nodes = math.ceil(needed / per_node)
    resources = {"cpu": str(cluster.cpus_per_node), "memory": f"{cluster.memory_gb}Gi"}
    tolerations = []
    if config.train.use_gpu:
        resources[GPU] = str(min(needed, per_node))
        tolerations.append({"key": GPU, "operator": "Exists", "effect": "NoSchedule"})
    if cluster.spot:
        tolerations += [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in SPOT_TAINTS]
    reason = "--reason DRAIN_NODE_REASON_PREEMPTION --reason-message 'the pod is to go'"
    drain = f"ray drain-node {reason} --deadline-remaining-seconds {DRAIN_SECONDS}; sleep {DRAIN_SECONDS}"
    return {
        "groupName": "gpu" if config.train.use_gpu else "cpu",
        # As many nodes as the job needs for its whole life: the cluster is the job's own.
        "replicas": nodes,
        "minReplicas": nodes,
        "maxReplicas": nodes,
        "rayStartParams": {},
        "template": {
            "metadata": {"labels": labels(job)},
            "spec": {
                **_pod(config, shm_gb=cluster.shm_gb),
                "terminationGracePeriodSeconds": GRACE_SECONDS,
                "tolerations": tolerations,
                "containers": [
                    {
                        **container(job, "ray-worker", resources),
                        "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", drain]}}},
                    }
                ],
            },
        },
    }


def _head(job: Submission) -> dict[str, Any]:
    """On a node that is not preempted: without its head the whole cluster starts again."""
    resources = {"cpu": str(HEAD_CPUS), "memory": f"{HEAD_MEMORY_GB}Gi"}
    stable = [{"key": key, "operator": "NotIn", "values": [value]} for key, value in SPOT_LABELS.items()]
    terms = {"nodeSelectorTerms": [{"matchExpressions": stable}]}
    return {
        **_pod(job.config, shm_gb=HEAD_MEMORY_GB // 4),
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
        "containers": [
            {
                **container(job, "ray-head", resources),
                "ports": [
                    {"name": "gcs-server", "containerPort": 6379},
                    {"name": "dashboard", "containerPort": 8265},
                    {"name": "client", "containerPort": 10001},
                ],
            }
        ],
    }


def _pod(config: RunConfig, shm_gb: int) -> dict[str, Any]:
    shm = {"medium": "Memory", "sizeLimit": f"{shm_gb}Gi"}
    return {
        "serviceAccountName": config.cluster.service_account,
        "securityContext": POD_SECURITY,
        "volumes": [{"name": "shm", "emptyDir": shm}],
    }


def container(job: Submission, name: str, resources: dict[str, str]) -> dict[str, Any]:
    """A Ray container: credentials come from the Secret, by reference."""
    return {
        "name": name,
        "image": job.config.cluster.image,
        "imagePullPolicy": "IfNotPresent",
        "env": environment(job),
        "envFrom": [{"secretRef": {"name": job.config.cluster.secret, "optional": True}}],
        "resources": {"requests": resources, "limits": resources},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
    }


def environment(job: Submission) -> list[dict[str, str]]:
    """The variables that travel, as Kubernetes writes them."""
    return [{"name": name, "value": value} for name, value in job.environment.items()]


def _submitter(config: RunConfig) -> dict[str, Any]:
    """Sends the command to the cluster and shows its log: `kubectl logs job/ID`."""
    resources = {"cpu": "500m", "memory": "1Gi"}
    return {
        "spec": {
            "restartPolicy": "Never",
            "securityContext": POD_SECURITY,
            "containers": [
                {
                    "name": "ray-job-submitter",
                    "image": config.cluster.image,
                    "imagePullPolicy": "IfNotPresent",
                    "resources": {"requests": resources, "limits": resources},
                    "securityContext": CONTAINER_SECURITY,
                }
            ],
        }
    }
