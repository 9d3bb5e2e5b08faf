"""Settings of searches and cluster jobs: none of them changes what a training run computes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aunet.errors import check


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneConfig:
    """The search for λ1–λ4 of Eq. 7: Optuna proposes, ASHA stops the trials that fall behind."""

    num_trials: int = 24
    """Weights tried, including the enqueued ones."""
    epochs: int = 6
    """Epochs of a trial that is not stopped early."""
    grace_epochs: int = 1
    """Epochs before a trial may be stopped."""
    reduction: int = 3
    """One in this many of the trials that reach a rung continues; each rung is this many times as long as the last."""
    num_workers: int = 1
    """Data-parallel processes of one trial."""
    max_concurrent: int = 0
    """Trials at a time; 0: as many as fit on the cluster."""
    val_images: int = 0
    """Validation images on which trials are compared, a fixed choice; 0: all."""
    span: float = 30.0
    """The ratios λ2/λ1, λ3/λ1 and λ4/λ1 are searched from 1/span to span."""
    confirm_seeds: int = 3
    """Seeds with which the winner and the preset's own weights are trained again and compared; 0: none."""
    seed: int = 0
    """Seed of the search."""

    def __post_init__(self) -> None:
        for name in ("num_trials", "epochs", "grace_epochs", "num_workers"):
            check(getattr(self, name) >= 1, f"tune.{name}", getattr(self, name), "use 1 or more")
        for name in ("max_concurrent", "val_images", "confirm_seeds"):
            check(getattr(self, name) >= 0, f"tune.{name}", getattr(self, name), "use 0 or more")
        check(self.reduction >= 2, "tune.reduction", self.reduction, "use 2 or more")
        check(self.span > 1, "tune.span", self.span, "use more than 1")
        cure = f"use at most tune.epochs = {self.epochs}"
        check(self.grace_epochs <= self.epochs, "tune.grace_epochs", self.grace_epochs, cure)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrainConfig:
    """How the ticks of a scheduled retraining stay out of each other's way."""

    lease_seconds: float = 300.0
    """Longest time for which a dead tick blocks the next ones; a live tick renews its lease three times within it."""

    def __post_init__(self) -> None:
        check(self.lease_seconds >= 3, "retrain.lease_seconds", self.lease_seconds, "use 3 seconds or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig:
    """Where jobs run on Kubernetes, and how they end. Credentials are named here, never stored."""

    image: str = "aunet:latest"
    """Image of the head, the workers and the pipeline steps; built from the Dockerfile."""
    namespace: str = "default"
    service_account: str = "aunet"
    secret: str = "aunet"
    """Kubernetes Secret whose keys become environment variables: AWS_…, MLFLOW_TRACKING_URI, …"""
    gpus_per_node: int = 8
    cpus_per_node: int = 32
    memory_gb: int = 192
    """Per node."""
    shm_gb: int = 32
    """/dev/shm per node: Ray's object store and the loaders' batches."""
    spot: bool = True
    """Whether GPU nodes may be pre-emptible."""
    deadline_hours: float = 72.0
    """A job that runs longer is stopped; its checkpoints are kept."""
    retries: int = 3
    """How many times a failed job is started again; it resumes."""
    keep_hours: float = 1.0
    """How long a finished job is kept for inspection."""
    schedule: str = "0 3 * * *"
    """When a scheduled job starts: five cron fields, UTC."""

    def __post_init__(self) -> None:
        for name in ("gpus_per_node", "retries"):
            check(getattr(self, name) >= 0, f"cluster.{name}", getattr(self, name), "use 0 or more")
        for name in ("cpus_per_node", "memory_gb", "shm_gb"):
            check(getattr(self, name) >= 1, f"cluster.{name}", getattr(self, name), "use 1 or more")
        check(self.deadline_hours > 0, "cluster.deadline_hours", self.deadline_hours, "use a positive number of hours")
        check(self.keep_hours >= 0, "cluster.keep_hours", self.keep_hours, "use 0 or more hours")
        for name in ("namespace", "service_account", "secret"):
            value = getattr(self, name)
            valid = re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", value) is not None
            check(valid, f"cluster.{name}", value, "use lower-case letters, digits and hyphens, at most 63")
        fields = self.schedule.split()
        cron = len(fields) == 5 and all(re.fullmatch(r"[\d*/,A-Za-z-]+", field) for field in fields)
        check(cron, "cluster.schedule", self.schedule, 'give five cron fields, such as "0 3 * * *"')
