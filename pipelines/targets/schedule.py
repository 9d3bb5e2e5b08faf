"""A scheduled `retrain` on Kubernetes: a CronJob whose pod sends one RayJob per tick, and what permits it to."""

from __future__ import annotations

from typing import Any

from aunet.errors import InputError
from pipelines.targets.rayjob import CONTAINER_SECURITY, POD_SECURITY, cluster_problems, environment, labels
from pipelines.targets.submission import Submission

LATE_SECONDS = 3600
"""A tick that could not start within that time is skipped; the next one finds the same new data."""


def name_of(job: Submission) -> str:
    """One schedule per preset: sent again with other settings, it replaces the one before."""
    return f"retrain-{job.preset.replace('_', '-')}"


def render_schedule(job: Submission) -> list[dict[str, Any]]:
    """Service account, role, role binding and CronJob, in the order in which they are created.

    Raises:
        InputError: no cluster of these settings could run a tick.
    """
    if problems := cluster_problems(job):
        raise InputError(problems)
    account = f"{job.config.cluster.service_account}-schedule"
    metadata = {"name": account, "namespace": job.config.cluster.namespace, "labels": labels(job)}
    rules = [
        {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get", "delete"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ]
    subject = {"kind": "ServiceAccount", "name": account, "namespace": job.config.cluster.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}
    rbac = "rbac.authorization.k8s.io/v1"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": rbac, "kind": "Role", "metadata": metadata, "rules": rules},
        {"apiVersion": rbac, "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": [subject]},
        _cron_job(job, account),
    ]


def _cron_job(job: Submission, account: str) -> dict[str, Any]:
    cluster = job.config.cluster
    names = {**labels(job), "aunet/submission": job.id}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name_of(job), "namespace": cluster.namespace, "labels": names},
        "spec": {
            "schedule": cluster.schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",  # the pod waits for its RayJob, so that a long tick keeps the next one out
            "startingDeadlineSeconds": LATE_SECONDS,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "metadata": {"labels": names},
                "spec": {
                    # The RayJob retries by itself; only a pod that was evicted is replaced, and finds its RayJob.
                    "backoffLimit": 3,
                    "podFailurePolicy": {
                        "rules": [
                            {
                                "action": "Ignore",
                                "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                            },
                            {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}},
                        ]
                    },
                    "activeDeadlineSeconds": int(cluster.deadline_hours * 3600) * (cluster.retries + 1) + LATE_SECONDS,
                    "template": {"metadata": {"labels": names}, "spec": _pod(job, account)},
                },
            },
        },
    }


def _pod(job: Submission, account: str) -> dict[str, Any]:
    resources = {"cpu": "500m", "memory": "1Gi"}
    return {
        "serviceAccountName": account,
        "restartPolicy": "Never",
        "securityContext": POD_SECURITY,
        "containers": [
            {
                "name": "tick",
                "image": job.config.cluster.image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["python", "-m", "jobs", "submit", *job.words, "--target", "kuberay", "--now", "--wait"],
                "env": environment(job),
                "resources": {"requests": resources, "limits": resources},
                "securityContext": CONTAINER_SECURITY,
            }
        ],
    }
