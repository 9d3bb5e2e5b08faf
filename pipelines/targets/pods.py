"""What the pods of jobs have in common: who they run as, what they carry, on which nodes they may be."""

from __future__ import annotations

from typing import Any, Protocol

from pipelines.settings.cluster_config import ClusterConfig, pairs

GPU = "nvidia.com/gpu"
MAX_NAME = 47
"""Characters in the name of a RayJob or a RayService that KubeRay accepts."""
SPOT_TAINTS = ("cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority", "spot")
SPOT_LABELS = {
    "eks.amazonaws.com/capacityType": "SPOT",
    "karpenter.sh/capacity-type": "spot",
    "cloud.google.com/gke-spot": "true",
    "kubernetes.azure.com/scalesetpriority": "spot",
}
"""Labels of pre-emptible nodes, and the values that stable pods keep away from."""
STAY = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
"""Annotations of a pod that an autoscaler must not move to save a node."""
QUEUE = "kueue.x-k8s.io/queue-name"
"""Label by which Kueue holds a job back until there is room for it."""
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 100,
    "fsGroup": 100,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


class Work(Protocol):
    """What runs in pods: a job, or the server of a model."""

    @property
    def verb(self) -> str: ...
    @property
    def preset(self) -> str:
        """Empty: it has none."""
        ...

    @property
    def cluster(self) -> ClusterConfig: ...
    def pod_environment(self) -> dict[str, str]:
        """Variables of its pods."""
        ...


def labels(job: Work) -> dict[str, str]:
    """How the objects of a job are found."""
    own = {"app.kubernetes.io/name": "aunet", "aunet/verb": job.verb}
    preset = {"aunet/preset": job.preset} if job.preset else {}
    return {**pairs(job.cluster.labels), **own, **preset}


def metadata(job: Work, **annotations: str) -> dict[str, Any]:
    """Of a pod template."""
    noted = {**annotations, **pairs(job.cluster.annotations)}
    return {"labels": labels(job), **({"annotations": noted} if noted else {})}


def pod(cluster: ClusterConfig, account: str | None = None) -> dict[str, Any]:
    """What every pod's specification begins with.

    Args:
        account: service account; None: `cluster.service_account`.
    """
    return {
        "serviceAccountName": account or cluster.service_account,
        "securityContext": POD_SECURITY,
        **({"priorityClassName": cluster.priority_class} if cluster.priority_class else {}),
        **({"imagePullSecrets": [{"name": name} for name in cluster.pull_secrets]} if cluster.pull_secrets else {}),
    }


def stable() -> dict[str, Any]:
    """Affinity of pods that keep away from nodes that may be preempted."""
    terms = [{"key": key, "operator": "NotIn", "values": [value]} for key, value in SPOT_LABELS.items()]
    required = {"nodeSelectorTerms": [{"matchExpressions": terms}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def shared_memory(gigabytes: int) -> list[dict[str, Any]]:
    """/dev/shm, as a volume."""
    return [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{gigabytes}Gi"}}]


def plain_container(cluster: ClusterConfig, name: str, resources: dict[str, str]) -> dict[str, Any]:
    """A container of the image, with what it asks for and no more."""
    return {
        "name": name,
        "image": cluster.image,
        "imagePullPolicy": "IfNotPresent",  # the name means one image for good
        "resources": {"requests": resources, "limits": resources},
        "securityContext": CONTAINER_SECURITY,
    }


def container(job: Work, name: str, resources: dict[str, str]) -> dict[str, Any]:
    """A container that works: credentials come from the Secret, by reference."""
    cluster = job.cluster
    return {
        **plain_container(cluster, name, resources),
        "env": [{"name": key, "value": value} for key, value in job.pod_environment().items()],
        "envFrom": [{"secretRef": {"name": cluster.secret, "optional": True}}],
    }


def tolerations(cluster: ClusterConfig, gpus: bool) -> list[dict[str, str]]:
    """Taints of nodes with GPUs, and of pre-emptible ones, that workers accept."""
    keys = [*([GPU] if gpus else []), *(SPOT_TAINTS if cluster.spot else ())]
    return [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in keys]
