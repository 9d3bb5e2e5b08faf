"""The configuration of a whole run: which data, which model, how to train. Frozen, validated, free of heavy imports."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from aunet.config import AugmentConfig, AUNetConfig, FusionConfig, LossWeights
from aunet.config_json import from_json, to_json
from aunet.errors import check
from aunet.names import check_name
from aunet.ranges import Range, Seed, Share, check_ranges
from pipelines.settings.cluster_config import ClusterConfig
from pipelines.settings.data_config import DataConfig, ShapesConfig, SplitConfig
from pipelines.settings.job_config import Number, NumberOrZero, RegisterConfig, RetrainConfig, TuneConfig

__all__ = [
    "ClusterConfig",
    "DataConfig",
    "FeedConfig",
    "RegisterConfig",
    "RetrainConfig",
    "RunConfig",
    "ShapesConfig",
    "SplitConfig",
    "TrainConfig",
    "TuneConfig",
    "fingerprint",
    "from_json",
    "to_json",
]


Decay = Annotated[float, Range(above=0, below=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedConfig:
    """Where training images are decoded. The batches are the same either way: no part of a run's identity."""

    kind: Literal["torch", "ray"] = "torch"
    """`torch`: processes beside each training worker; `ray`: Ray tasks anywhere in the cluster, one CPU each."""
    workers: NumberOrZero = 0
    """Processes or tasks that decode ahead for each training worker; 0 decodes in the training process."""
    verify: bool = True
    """Check the SHA-256 of every row on reading."""

    def __post_init__(self) -> None:
        check_ranges(self, "feed")
        check(
            self.kind == "torch" or self.workers >= 1,
            "feed.workers",
            self.workers,
            'use 1 or more Ray tasks for each training worker, or feed.kind = "torch"',
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Optimisation and the resources for it."""

    num_workers: Number | tuple[Number, Number] = 8
    """Data-parallel processes; (least, most): as many as the cluster has, changed while the run goes on."""
    use_gpu: bool = True
    batch_size: Number = 16
    """Images per step, over all workers and all their forward passes."""
    micro_batch_size: Number | None = None
    """Most images in one forward pass; a worker with more images per step makes several passes and adds up their
    gradients. None: all in one pass."""
    epochs: Number = 18
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Range(above=0, at_most=1000)] = 0.02
    base_batch_size: Number | None = None
    """Batch that `lr` was chosen for: with another `batch_size` the rate is multiplied by the ratio of the two, and the
    warm-up keeps its steps. None: `lr` is the rate, whatever the batch."""
    backbone_lr_factor: Annotated[float, Range(above=0, at_most=100)] = 1.0
    """Factor on the learning rate of the backbone; its feature pyramid is not meant."""
    backbone_frozen_epochs: NumberOrZero = 0
    """Epochs in which the backbone's learning rate is 0, so that new heads do not disturb what it knows."""
    stage_lr_decay: Annotated[float, Range(above=0, at_most=1)] = 1.0
    """Further factor on the learning rate for every stage of the backbone below its last one."""
    loss_weighting: Literal["fixed", "uncertainty"] = "fixed"
    """`uncertainty`: learned beside the network (Kendall et al.), starting from λ1 … λ4; one of 0 stays 0."""
    momentum: Annotated[float, Range(at_least=0, below=1)] = 0.9
    weight_decay: Annotated[float, Range(at_least=0, at_most=1000)] = 4e-5
    decay_norms: bool = False
    """Whether weight decay also applies to normalisation layers and biases."""
    schedule: Literal["step", "cosine", "flat_cosine"] = "step"
    """`step`: divided by 10 at the `milestones`; `flat_cosine`: constant, then cosine to 0 over the last `cooldown`."""
    milestones: tuple[Number, ...] = (15, 18)
    """Epochs after which the learning rate drops."""
    cooldown: Share = 0.5
    """Share of the run over which `flat_cosine` falls."""
    warmup_steps: Annotated[int, Range(at_least=0, below=2**31)] = 1000
    warmup_factor: Annotated[float, Range(above=0, at_most=1)] = 0.001
    clip_norm: Annotated[float, Range(above=0, at_most=1e6)] | None = None
    ema: Decay | None = None
    """Decay per step of an exponential moving average of the weights, which evaluation then uses."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """`auto`: bf16 autocast where the hardware supports it, else fp32. `fp16`, with scaled losses, is for GPUs without
    bf16 (T4, V100)."""
    compile: bool = False
    """Let torch.compile fuse the modules that process whole images, of any size; the first step then takes a minute or
    more. A resumed run may differ in the last bits."""
    seed: Seed = 0
    checkpoint_every: NumberOrZero = 1
    """Epochs between checkpoints; 0: only by `checkpoint_minutes`. The last step always has one."""
    checkpoint_minutes: Annotated[float, Range(at_least=0, at_most=1440)] = 10.0
    """Minutes between checkpoints, also in the middle of an epoch; 0: only by `checkpoint_every`."""
    keep_last: Number = 2
    """Newest checkpoints that are kept."""
    keep_every: NumberOrZero = 0
    """Epochs between checkpoints that are kept for good; 0: none. The one with the best PQ always is."""
    evaluate_every: NumberOrZero = 0
    """Epochs between evaluations on the validation split during training; 0: none, only `evaluate` afterwards."""
    validate: Literal["inline", "beside"] = "inline"
    """`inline`: the workers stop training and measure. `beside`: a task with one CPU or GPU of its own measures the
    checkpoint while they go on."""
    val_images: NumberOrZero = 0
    """Images used by evaluations during training, a fixed choice; 0: the whole split."""
    patience: NumberOrZero = 0
    """Evaluations in a row without a better PQ after which the run ends; 0: it goes on to its last epoch."""
    release: Literal["last", "best"] = "last"
    """Which checkpoint becomes the model: the last, or the one with the best PQ."""
    max_failures: NumberOrZero = 3
    """Restarts in a row, with no checkpoint between them, after which the run fails. Pre-emptions do not count."""
    hang_seconds: Annotated[float, Range(at_least=5, at_most=86_400)] = 120.0
    """A worker that is silent for so long is ended and the group restarts; so is the slowest of workers that are alive
    but make no progress for ten times as long."""
    when_running: Literal["attach", "refuse"] = "attach"
    """What a second call of a run does: show its progress and return its result, taking over if the first dies; or
    end with an error."""
    profile: tuple[NumberOrZero, Number] | None = None
    """First step and number of steps of which rank 0 writes a trace of torch.profiler into the run's folder."""

    def __post_init__(self) -> None:
        check_ranges(self, "train")
        fewest, most = self.min_workers, self.max_workers
        check(fewest <= most, "train.num_workers", self.num_workers, "give the least first, then the most")
        check(
            self.batch_size >= most and self.batch_size % most == 0,
            "train.batch_size",
            self.batch_size,
            f"use a multiple of train.num_workers = {most}",
        )
        per_worker, size = self.batch_size // most, self.micro_batch_size
        check(
            size is None or per_worker % min(size, per_worker) == 0,
            "train.micro_batch_size",
            size,
            f"use a divisor of the {per_worker} images of each worker (train.batch_size / train.num_workers), or None",
        )
        needs_pq = self.patience or self.release == "best"
        name, value = ("patience", self.patience) if self.patience else ("release", self.release)
        cure = "it goes by evaluations during training: set train.evaluate_every to 1 or more"
        check(not needs_pq or self.evaluate_every > 0, f"train.{name}", value, cure)

    @property
    def min_workers(self) -> int:
        """The least number of processes with which the run goes on."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[0]

    @property
    def max_workers(self) -> int:
        """The largest number of processes."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[1]

    @property
    def peak_lr(self) -> float:
        """The learning rate after the warm-up, in proportion to the batch where `base_batch_size` is given."""
        return self.lr * (1 if self.base_batch_size is None else self.batch_size / self.base_batch_size)

    @property
    def micro_batches(self) -> int:
        """Forward passes of a step, over all workers; the same however many there are."""
        per_worker = self.batch_size // self.max_workers
        return self.batch_size // min(self.micro_batch_size or per_worker, per_worker)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """A whole named run: what presets return and every stage receives."""

    name: str
    data: DataConfig
    model: AUNetConfig = field(default_factory=AUNetConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossWeights = field(default_factory=LossWeights)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    feed: FeedConfig = field(default_factory=FeedConfig)
    register: RegisterConfig = field(default_factory=RegisterConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)
    retrain: RetrainConfig = field(default_factory=RetrainConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    version: str = ""
    """Part of the run's identity besides its settings: another text gives another run of the same settings. `retrain`
    writes a hash of code and fusion here."""

    def __post_init__(self) -> None:
        check_name("name", self.name)
        is_elastic = self.train.min_workers < self.train.max_workers
        check(
            not (is_elastic and self.model.backbone.norm == "bn"),
            "train.num_workers",
            self.train.num_workers,
            'batch norm\'s statistics would depend on it; give one number, or use model.backbone.norm = "gn"',
        )


def fingerprint(*parts: Any) -> str:
    """16 hex digits that identify the given configs, strings and JSON values together."""
    plain = [to_json(p) if dataclasses.is_dataclass(p) else p for p in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
