"""A scheduled `retrain` on Kubernetes: a CronJob whose pod looks for news and sends one RayJob if there are some."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from aunet.errors import InputError
from pipelines.targets.patching import merged, patch_of
from pipelines.targets.pods import STAY, container, labels, metadata, pod
from pipelines.targets.rayjob import cluster_problems
from pipelines.targets.submission import Submission

LATE_SECONDS = 3600
"""A tick that could not start within that time is skipped; the next one finds the same new data."""
MAX_NAME = 52
"""Characters in the name of a CronJob."""
RESOURCES = {"cpu": "1", "memory": "4Gi"}
"""A tick lists the data and compares; preparing and training are jobs of their own."""


def name_of(job: Submission) -> str:
    """One schedule per `--name`: sent again with other settings, it replaces the one before, and no other."""
    plain = re.sub(r"[^a-z0-9]+", "-", job.config.name.lower()).strip("-")
    digest = "" if job.config.name == job.preset else f"-{hashlib.sha256(job.config.name.encode()).hexdigest()[:6]}"
    return f"retrain-{plain[: MAX_NAME - len('retrain-') - len(digest)].rstrip('-')}{digest}"


def render_schedule(job: Submission) -> list[dict[str, Any]]:
    """Service account, role, role binding and CronJob, in the order in which they are created.

    Raises:
        InputError: no cluster of these settings could run a tick.
    """
    if problems := cluster_problems(job):
        raise InputError(problems)
    account = f"{job.cluster.service_account}-schedule"
    own = {"name": account, "namespace": job.cluster.namespace, "labels": labels(job)}
    rules = [
        {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get", "delete", "patch"]},
        {"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ]
    subject = {"kind": "ServiceAccount", "name": account, "namespace": job.cluster.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}
    rbac = "rbac.authorization.k8s.io/v1"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": own},
        {"apiVersion": rbac, "kind": "Role", "metadata": own, "rules": rules},
        {"apiVersion": rbac, "kind": "RoleBinding", "metadata": own, "roleRef": role, "subjects": [subject]},
        _cron_job(job, account),
    ]


def _cron_job(job: Submission, account: str) -> dict[str, Any]:
    cluster = job.cluster
    names = {**labels(job), "aunet/submission": job.id}
    template = merged(_template(job, account, names), patch_of(cluster.patch).get("tick", {}))
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
                    "template": template,
                },
            },
        },
    }


def _template(job: Submission, account: str, names: dict[str, str]) -> dict[str, Any]:
    command = ["python", "-m", "jobs", "submit", *job.words, "--target", "kuberay", "--now", "--wait"]
    return {
        "metadata": {**metadata(job, **STAY), "labels": names},
        "spec": {
            **pod(job.cluster, account),
            "restartPolicy": "Never",
            "containers": [{**container(job, "tick", RESOURCES), "command": command}],
        },
    }
