"""A job as a KubeRay RayJob: a cluster created for it, as large as its verb needs, gone when it has ended."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from aunet.errors import InputError
from pipelines.runtime.cluster import missing_workers
from pipelines.runtime.decoding import few_cpus
from pipelines.runtime.growth import training_bundles
from pipelines.settings.run_config import RunConfig, TrainConfig
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


def size_of(job: Submission) -> Size:
    """As many nodes as the job needs for its whole life, GPUs only where its verb uses them."""
    config, cluster = job.config, job.cluster
    if job.verb not in TRAINING and (job.preset or not config.train.use_gpu):
        return Size.without_gpus(cluster, 1 if job.preset else math.ceil(config.train.max_workers / cluster.small_cpus))
    together = needed(config, job.verb)
    gpus = together["GPU"]
    for_gpus = math.ceil(gpus / cluster.gpus_per_node) if gpus else 0
    nodes = max(for_gpus, math.ceil(together["CPU"] / cluster.cpus_per_node))
    return Size(
        nodes=nodes,
        # Where decoding alone asks for more nodes, the GPUs are spread over them.
        gpus=min(gpus, cluster.gpus_per_node) if nodes == for_gpus else math.ceil(gpus / nodes),
        cpus=cluster.cpus_per_node,
        memory_gb=cluster.memory_gb,
        shm_gb=cluster.shm_gb,
    )


def cluster_problems(job: Submission, sized: Callable[[Submission], Size] = size_of) -> list[str]:
    """What keeps this configuration from running in pods, each with its cure.

    Args:
        sized: the size of the job's cluster.
    """
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
    elif job.verb in TRAINING:
        problems += _shortages(config, job.verb, sized(job))
    return problems


def needed(config: RunConfig, verb: str) -> dict[str, int]:
    """GPUs and CPUs that the trainings of a verb hold at a time, with the tasks that measure and decode beside them."""
    held = [
        training_bundles(train, config.feed, train.max_workers) * at_once for train, at_once in _trainings(config, verb)
    ]
    return {
        kind: max(sum(int(bundle.get(kind, 0)) for bundle in bundles) for bundles in held) for kind in ("GPU", "CPU")
    }


def _trainings(config: RunConfig, verb: str) -> list[tuple[TrainConfig, int]]:
    """What a verb trains, one after the other, and how many of each at once."""
    own = (config.train, 1)
    if verb != "tune":
        return [own]
    tune = config.tune
    trial = replace(config.train, num_workers=tune.num_workers, evaluate_every=tune.grace_epochs, validate="inline")
    return [own, (trial, max(tune.max_concurrent, 1))]


def _shortages(config: RunConfig, verb: str, size: Size) -> Iterator[str]:
    """Why trainings on a cluster of this size would wait for ever, or their GPUs for images."""
    kinds = _trainings(config, verb)
    for train, at_once in kinds:
        room = {"GPU": size.nodes * size.gpus // at_once, "CPU": size.nodes * size.cpus // at_once}
        if missing := missing_workers(train, config.feed, room):
            yield missing
    together = min(size.gpus, max(train.max_workers * at_once for train, at_once in kinds))
    if short := few_cpus(config.train, config.feed, together, size.cpus, "cluster.cpus_per_node ="):
        yield short


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
