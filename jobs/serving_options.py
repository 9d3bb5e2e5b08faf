"""The options of the verb that serves a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jobs.options import Options
from pipelines.settings.cluster_config import ClusterConfig

CLUSTER = ClusterConfig()


@dataclass(frozen=True, kw_only=True)
class ServeOptions(Options):
    """A model, an address, and how much may be asked of it at once."""

    model: str
    """Model: models:/NAME@ALIAS, which is followed; models:/NAME/VERSION; or the URI of a model folder or a run."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every one of this machine, for anybody who can reach it."""
    port: int = 8000
    """Port to listen on."""
    replicas: int = 1
    """Processes with a copy of the model each, and a GPU each where there are enough."""
    cpus: int = 1
    """CPUs of each replica."""
    batch: int = 8
    """Images of one pass through the network at most; only those of one size share one."""
    batch_wait_ms: float = 5.0
    """How long the first image of a batch waits for others."""
    queue: int = 64
    """Images per replica that may wait or be worked on; more are answered with 429."""
    max_bytes: int = 33554432
    """Bytes that an image may have; larger ones are answered with 413."""
    max_pixels: int | None = None
    """Pixels that an image may have; None: 89478485. Larger ones are answered with 413 and not decoded."""
    reload_seconds: float = 30.0
    """Between two looks at what the alias points to."""
    gpus: float | None = None
    """GPUs of each replica; if omitted, one where there are enough, on KubeRay where cluster.gpus_per_node is not 0."""
    target: Literal["local", "kuberay"] = "local"
    """local (this machine, or the cluster at RAY_ADDRESS), or kuberay: a RayService that stays."""
    dry_run: bool = False
    """Print the RayService that would be sent to KubeRay, and send nothing."""
    cluster: ClusterConfig = CLUSTER
    """Where it runs on KubeRay."""
    trust_exported: bool = False
    """Also load a program that export wrote, which can run any code: only if you trust whoever made it."""
