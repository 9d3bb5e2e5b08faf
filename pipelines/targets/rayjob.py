"""A job as a KubeRay RayJob: a cluster created for it, as large as its verb needs, gone when it has ended."""

from __future__ import annotations

import math
import shlex
from typing import Any

from aunet.errors import InputError
from pipelines.runtime.decoding import few_cpus
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.targets.patching import merged, patch_of
from pipelines.targets.pods import QUEUE, STAY, labels, metadata, plain_container, pod
from pipelines.targets.ray_cluster import Size, address_problems, ray_cluster
from pipelines.targets.submission import Submission
from pipelines.tracking.address import is_registered

TRAINING = ("train", "evaluate", "run", "tune", "retrain")
"""Verbs that use the workers of a training; all others get small nodes, with GPUs only where they ask for some."""


def render_rayjob(job: Submission) -> dict[str, Any]:
    """The RayJob that runs `job`, with `cluster.patch` merged into it.

    Raises:
        InputError: no cluster of these settings could run it.
    """
    cluster = job.cluster
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
            "rayClusterSpec": ray_cluster(job, size_of(job), patch),
        },
    }
    return merged(rayjob, patch.get("rayjob", {}))


def cluster_problems(job: Submission) -> list[str]:
    """What keeps this configuration from running in pods, each with its cure."""
    config, cluster = job.config, job.cluster
    problems = list(address_problems(cluster, job.environment))
    if config.data.shapes is None and not storage.is_remote(config.data.root):
        problems.append(f"data.root = {config.data.root!r}: pods do not see this machine; use s3://bucket/prefix")
    problems += [
        f"{option} = {address!r}: pods do not see this machine; use s3://bucket/prefix"
        for option, address in job.addresses.items()
        if not storage.is_remote(address) and not is_registered(address)
    ]
    if config.train.use_gpu and not cluster.gpus_per_node:
        asked = "train.use_gpu" if job.preset else "--gpus"
        problems.append(f"cluster.gpus_per_node = 0: {asked} needs GPUs; use 1 or more")
    gpus = min(num_workers(config, job.verb), cluster.gpus_per_node) if job.verb in TRAINING else 0
    if gpus and (short := few_cpus(config.train, config.feed, gpus, cluster.cpus_per_node, "cluster.cpus_per_node =")):
        problems.append(short)
    return problems


def num_workers(config: RunConfig, verb: str) -> int:
    """Training processes that the cluster carries at a time."""
    if verb != "tune":
        return config.train.max_workers
    return max(config.train.max_workers, config.tune.num_workers * max(config.tune.max_concurrent, 1))


def size_of(job: Submission) -> Size:
    """As many nodes as the job needs for its whole life, GPUs only where its verb uses them."""
    config, cluster = job.config, job.cluster
    if job.verb not in TRAINING and (job.preset or not config.train.use_gpu):
        return Size.without_gpus(cluster, 1 if job.preset else math.ceil(config.train.max_workers / cluster.small_cpus))
    needed = num_workers(config, job.verb)
    per_node = cluster.gpus_per_node if config.train.use_gpu else cluster.cpus_per_node
    return Size(
        nodes=math.ceil(needed / per_node),
        gpus=min(needed, per_node) if config.train.use_gpu else 0,
        cpus=cluster.cpus_per_node,
        memory_gb=cluster.memory_gb,
        shm_gb=cluster.shm_gb,
    )


def _submitter(job: Submission) -> dict[str, Any]:
    """Sends the command to the cluster and shows its log: `kubectl logs job/ID`."""
    cluster = job.cluster
    small = {"cpu": "500m", "memory": "1Gi"}
    return {
        "metadata": metadata(job, **STAY),
        "spec": {
            **pod(cluster),
            "restartPolicy": "Never",
            "containers": [plain_container(cluster, "ray-job-submitter", small)],
        },
    }
