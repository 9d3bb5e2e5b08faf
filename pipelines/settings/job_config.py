"""Settings of searches, registration and retraining: none of them changes what a training run computes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from aunet.errors import check
from aunet.names import check_name
from aunet.ranges import Range, Seed, check_ranges

Number = Annotated[int, Range(at_least=1, at_most=1_000_000)]
"""Of things that are counted: processes, images, epochs, trials."""
NumberOrZero = Annotated[int, Range(at_least=0, at_most=1_000_000)]
"""The same, where 0 means something."""
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
    """Points of PQ by which a new version must surely beat the champion: the lower end of the interval of the
    difference (95 %, paired bootstrap over the images) must be above it."""
    max_drop: Annotated[float, Range(at_least=0, at_most=100)] = 1.0
    """Points of PQ_th or PQ_st: a new version that is surely worse by more is held, whatever its PQ."""
    max_class_drop: Annotated[float, Range(at_least=0, at_most=100)] = 5.0
    """Points of PQ of one class, likewise."""
    min_instances: Annotated[int, Range(at_least=1, at_most=1_000_000)] = 10
    """True instances on the frozen set that a class needs for that."""
    max_slowdown: Annotated[float, Range(above=0, at_most=1000)] = 1.5
    """Times as long as the champion that a new version may need for an image, on the CPU, taking turns."""
    max_size_mb: Annotated[float, Range(above=0, at_most=1e6)] | None = None
    """Megabytes that its folder may have; None: any number."""
    near_images: Literal["refuse", "accept"] = "refuse"
    """What follows when a frozen image's near duplicate moves into the training data; `accept` where all images look
    alike, as those of a fixed camera do. The same file is always refused."""

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
