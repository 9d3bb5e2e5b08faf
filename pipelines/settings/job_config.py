"""Settings of searches, registration and cluster jobs: none of them changes what a training run computes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from aunet.errors import check
from aunet.names import check_name
from aunet.ranges import Range, Seed, check_ranges

Number = Annotated[int, Range(at_least=1, at_most=1_000_000)]
"""Of things that are counted: processes, images, epochs, trials."""
NumberOrZero = Annotated[int, Range(at_least=0, at_most=1_000_000)]
"""The same, where 0 means something."""
Gigabytes = Annotated[int, Range(at_least=1, at_most=100_000)]
KUBERNETES_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}")
CRON_FIELD = re.compile(r"[\d*/,A-Za-z-]+")
ALIAS = re.compile(r"(?!latest$)(?!v[0-9]+$).*", re.IGNORECASE)
"""Aliases that MLflow does not keep for itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneConfig:
    """The search for λ1–λ4 of Eq. 7: Optuna proposes, ASHA stops the trials that fall behind."""

    num_trials: Number = 24
    """Weights tried, including the enqueued ones."""
    epochs: Number = 6
    """Epochs of a trial that is not stopped early."""
    grace_epochs: Number = 1
    """Epochs before a trial may be stopped."""
    reduction: Annotated[int, Range(at_least=2, at_most=1000)] = 3
    """One in this many of the trials that reach a rung continues; each rung is this many times as long as the last."""
    num_workers: Number = 1
    """Data-parallel processes of one trial."""
    max_concurrent: NumberOrZero = 0
    """Trials at a time; 0: as many as fit on the cluster."""
    val_images: NumberOrZero = 0
    """Validation images on which trials are compared, a fixed choice; 0: all."""
    span: Annotated[float, Range(above=1, at_most=1e6)] = 30.0
    """The ratios λ2/λ1, λ3/λ1 and λ4/λ1 are searched from 1/span to span."""
    confirm_seeds: Annotated[int, Range(at_least=0, at_most=1000)] = 3
    """Seeds with which the winner and the preset's own weights are trained again and compared; 0: none."""
    seed: Seed = 0
    """Seed of the search."""

    def __post_init__(self) -> None:
        check_ranges(self, "tune")
        cure = f"use at most tune.epochs = {self.epochs}"
        check(self.grace_epochs <= self.epochs, "tune.grace_epochs", self.grace_epochs, cure)


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisterConfig:
    """Where a trained model goes."""

    model_name: str = "aunet"
    alias: str = "champion"
    margin: Annotated[float, Range(at_least=0, at_most=100)] = 0.0
    """PQ by which a new version must beat the alias's current holder to receive the alias."""

    def __post_init__(self) -> None:
        check_ranges(self, "register")
        check_name("register.model_name", self.model_name)
        check_name("register.alias", self.alias)
        cure = "MLflow keeps latest and v1, v2, … for itself; use another name"
        check(ALIAS.fullmatch(self.alias) is not None, "register.alias", self.alias, cure)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrainConfig:
    """How the ticks of a scheduled retraining stay out of each other's way."""

    lease_seconds: Annotated[float, Range(at_least=3, at_most=86_400)] = 300.0
    """Longest time for which a dead tick blocks the next ones; a live tick renews its lease three times within it."""

    def __post_init__(self) -> None:
        check_ranges(self, "retrain")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig:
    """Where jobs run on Kubernetes, and how they end. Credentials are named here, never stored."""

    image: str = "aunet:latest"
    """Image of the head, the workers and the pipeline steps; built from the Dockerfile."""
    namespace: str = "default"
    service_account: str = "aunet"
    secret: str = "aunet"
    """Kubernetes Secret whose keys become environment variables: AWS_…, MLFLOW_TRACKING_URI, …"""
    gpus_per_node: Annotated[int, Range(at_least=0, at_most=1000)] = 8
    cpus_per_node: Annotated[int, Range(at_least=1, at_most=10_000)] = 32
    memory_gb: Gigabytes = 192
    """Per node."""
    shm_gb: Gigabytes = 32
    """/dev/shm per node: Ray's object store and the loaders' batches."""
    spot: bool = True
    """Whether GPU nodes may be pre-emptible."""
    deadline_hours: Annotated[float, Range(at_least=0.001, at_most=5000)] = 72.0
    """A job that runs longer is stopped; its checkpoints are kept."""
    retries: Annotated[int, Range(at_least=0, at_most=100)] = 3
    """How many times a failed job is started again; it resumes."""
    keep_hours: Annotated[float, Range(at_least=0, at_most=5000)] = 1.0
    """How long a finished job is kept for inspection."""
    schedule: str = "0 3 * * *"
    """When a scheduled job starts: five cron fields, UTC."""

    def __post_init__(self) -> None:
        check_ranges(self, "cluster")
        for name in ("namespace", "service_account", "secret"):
            value = getattr(self, name)
            cure = "use lower-case letters, digits and hyphens, at most 63"
            check(KUBERNETES_NAME.fullmatch(value) is not None, f"cluster.{name}", value, cure)
        cure = "give the name of an image, such as registry.example.com/aunet:latest"
        check(IMAGE.fullmatch(self.image) is not None, "cluster.image", self.image, cure)
        fields = self.schedule.split(" ")
        is_cron = len(fields) == 5 and all(CRON_FIELD.fullmatch(field) for field in fields)
        check(is_cron, "cluster.schedule", self.schedule, 'give five cron fields, such as "0 3 * * *"')
