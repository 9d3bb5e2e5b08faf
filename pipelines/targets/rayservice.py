"""A server of a model as a KubeRay RayService: a cluster that stays, and what Ray Serve runs on it."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from aunet.errors import InputError, check
from pipelines.settings.cluster_config import ClusterConfig
from pipelines.store import storage
from pipelines.store.addresses import holds_credentials
from pipelines.targets.cluster_schema import check_rayservice
from pipelines.targets.patching import merged, patch_of
from pipelines.targets.pods import MAX_NAME, labels
from pipelines.targets.ray_cluster import Size, address_problems, ray_cluster
from pipelines.targets.submission import pod_variables

ALL_ADDRESSES = "0.0.0.0"
"""On which the proxies listen in their pods."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelService:
    """What is to be served, and where."""

    model: str
    """Its address, which every pod reaches."""
    cluster: ClusterConfig
    application: Mapping[str, Any]
    """Of Ray Serve: `name`, `import_path` and `args`."""
    replicas: int
    cpus: int
    """Of each replica."""
    gpus: float
    """Of each replica."""
    port: int
    proxy_environment: Mapping[str, str]
    """Variables of Ray's HTTP proxies."""
    environment: Mapping[str, str]
    """Variables that travel; none holds a credential."""
    code: str
    """Version of the code that it is rendered from."""

    @property
    def verb(self) -> str:
        """As label."""
        return "serve"

    @property
    def preset(self) -> str:
        """It has none."""
        return ""

    @property
    def name(self) -> str:
        """One service per model address: rendered again, it replaces its previous one, and no other."""
        plain = re.sub(r"[^a-z0-9]+", "-", self.model.lower()).strip("-").removeprefix("models-")
        digest = hashlib.sha256(self.model.encode()).hexdigest()[:6]
        return f"serve-{plain[: MAX_NAME - len('serve-') - 7].strip('-')}-{digest}"

    def pod_environment(self) -> dict[str, str]:
        """Variables of its pods."""
        return {**pod_variables(self.environment, self.cluster, self.code), **self.proxy_environment}


def render_rayservice(service: ModelService) -> dict[str, Any]:
    """The RayService, with `cluster.patch` merged into it, validated.

    Raises:
        InputError: no cluster of these settings could run it.
    """
    cluster = service.cluster
    if problems := list(service_problems(service)):
        raise InputError(problems)
    patch = patch_of(cluster.patch)
    config = {
        "proxy_location": "EveryNode",
        "http_options": {"host": ALL_ADDRESSES, "port": service.port},
        "applications": [{"route_prefix": "/", **service.application}],
    }
    specification = ray_cluster(service, service_size(service), patch)
    for group in (specification["headGroupSpec"], *specification["workerGroupSpecs"]):
        container = group["template"]["spec"]["containers"][0]
        container["ports"] = [*container.get("ports", []), {"name": "serve", "containerPort": service.port}]
    rayservice = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {
            "name": service.name,
            "namespace": cluster.namespace,
            "labels": labels(service),
            "annotations": {"aunet/image": cluster.image, "aunet/code": service.code, "aunet/model": service.model},
        },
        "spec": {
            "serveConfigV2": yaml.safe_dump(config, sort_keys=False),
            "rayClusterConfig": specification,
        },
    }
    rayservice = merged(rayservice, patch.get("rayservice", {}))
    check_rayservice(rayservice, is_patched=bool(cluster.patch))
    return rayservice


def service_problems(service: ModelService) -> Iterator[str]:
    """What keeps this service from running in pods, each with its cure."""
    cluster = service.cluster
    yield from address_problems(cluster, service.environment)
    if not (service.model.startswith("models:/") or storage.is_remote(service.model)):
        yield f"--model = {service.model}: pods do not see this machine; use models:/NAME@ALIAS or s3://bucket/folder"
    for name, value in {**service.environment, "--model": service.model, "cluster.env": str(cluster.env)}.items():
        if holds_credentials(value):
            cure = f"remove them and put them into the Secret {cluster.secret}"
            yield f"{name}: holds credentials, which a manifest must not carry; {cure}"
    if service.gpus and not cluster.gpus_per_node:
        yield "cluster.gpus_per_node = 0: replicas with GPUs need nodes with GPUs; use 1 or more, or --gpus 0"
    most, field = (cluster.cpus_per_node, "cpus_per_node") if service.gpus else (cluster.small_cpus, "small_cpus")
    if service.cpus > most:
        yield f"--cpus = {service.cpus}: more than cluster.{field} = {most}; a replica needs one node"


def service_size(service: ModelService) -> Size:
    """Nodes for all replicas: those with GPUs where replicas have GPUs, else small ones."""
    cluster = service.cluster
    if not service.gpus:
        per_node = cluster.small_cpus // service.cpus
        return Size.without_gpus(cluster, nodes=math.ceil(service.replicas / per_node))
    per_gpu = max(int(1 / service.gpus), 1)
    by_gpus = per_gpu * cluster.gpus_per_node if service.gpus <= 1 else int(cluster.gpus_per_node / service.gpus)
    check(by_gpus >= 1, "--gpus", service.gpus, f"cluster.gpus_per_node is {cluster.gpus_per_node}")
    per_node = min(by_gpus, cluster.cpus_per_node // service.cpus)
    together = min(service.replicas, per_node)
    gpus = math.ceil(together / per_gpu) if service.gpus <= 1 else math.ceil(together * service.gpus)
    return Size(
        nodes=math.ceil(service.replicas / per_node),
        gpus=gpus,
        cpus=cluster.cpus_per_node,
        memory_gb=cluster.memory_gb,
        shm_gb=cluster.shm_gb,
    )
