"""Settings of searches and cluster jobs: nothing here changes what one training run computes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aunet.errors import check


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneConfig:
    """The search for λ1–λ4 of Eq. 7: Optuna proposes, ASHA stops what is behind."""

    num_trials: int = 24
    """Settings tried, the enqueued ones included."""
    epochs: int = 6
    """Epochs of a trial that is not stopped."""
    grace_epochs: int = 1
    """Epochs before a trial may be stopped."""
    reduction: int = 3
    """Of the trials that reach a rung, one in so many goes on; a rung is so many times as long as the one before."""
    num_workers: int = 1
    """Data-parallel processes of one trial."""
    max_concurrent: int = 0
    """Trials at a time; 0: as many as the cluster carries."""
    val_images: int = 0
    """Images of the validation split that trials are compared on, a fixed choice; 0: all."""
    span: float = 30.0
    """The ratios λ2/λ1, λ3/λ1 and λ4/λ1 are searched from 1/span to span."""
    confirm_seeds: int = 3
    """Seeds with which the winner and the preset's own weights are trained again and compared; 0: not at all."""
    seed: int = 0
    """Of the search."""

    def __post_init__(self) -> None:
        for name in ("num_trials", "epochs", "grace_epochs", "num_workers"):
            check(getattr(self, name) >= 1, f"tune.{name}", getattr(self, name), "take 1 or more")
        for name in ("max_concurrent", "val_images", "confirm_seeds"):
            check(getattr(self, name) >= 0, f"tune.{name}", getattr(self, name), "take 0 or more")
        check(self.reduction >= 2, "tune.reduction", self.reduction, "take 2 or more")
        check(self.span > 1, "tune.span", self.span, "take more than 1")
        cure = f"take at most tune.epochs = {self.epochs}"
        check(self.grace_epochs <= self.epochs, "tune.grace_epochs", self.grace_epochs, cure)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrainConfig:
    """How ticks of a scheduled retraining keep out of each other's way."""

    lease_seconds: float = 300.0
    """A tick that died keeps the next ones waiting so long at most; a living one renews its lease three times in it."""

    def __post_init__(self) -> None:
        check(self.lease_seconds >= 3, "retrain.lease_seconds", self.lease_seconds, "take 3 seconds or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig:
    """Where jobs run on Kubernetes, and how they end. Credentials are named here, never held."""

    image: str = "aunet:latest"
    """Image of head, workers and pipeline steps; built from the Dockerfile."""
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
    """A job that runs longer is stopped; its checkpoints stay."""
    retries: int = 3
    """How often a failed job is started again; it resumes."""
    keep_hours: float = 1.0
    """How long a finished job stays to be looked at."""
    schedule: str = "0 3 * * *"
    """When a scheduled job starts: five cron fields, UTC."""

    def __post_init__(self) -> None:
        for name in ("gpus_per_node", "retries"):
            check(getattr(self, name) >= 0, f"cluster.{name}", getattr(self, name), "take 0 or more")
        for name in ("cpus_per_node", "memory_gb", "shm_gb"):
            check(getattr(self, name) >= 1, f"cluster.{name}", getattr(self, name), "take 1 or more")
        check(self.deadline_hours > 0, "cluster.deadline_hours", self.deadline_hours, "take a positive number of hours")
        check(self.keep_hours >= 0, "cluster.keep_hours", self.keep_hours, "take 0 or more hours")
        for name in ("namespace", "service_account", "secret"):
            value = getattr(self, name)
            valid = re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", value) is not None
            check(valid, f"cluster.{name}", value, "take lower-case letters, digits and hyphens, at most 63")
        fields = self.schedule.split()
        cron = len(fields) == 5 and all(re.fullmatch(r"[\d*/,A-Za-z-]+", field) for field in fields)
        check(cron, "cluster.schedule", self.schedule, 'give five cron fields, such as "0 3 * * *"')
