"""The configuration of a whole run: which data, which model, how to train. Frozen, validated, free of heavy imports."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from aunet.config import AugmentConfig, AUNetConfig, FusionConfig, LossWeights
from aunet.config_json import from_json, to_json
from aunet.errors import InputError, check
from aunet.names import check_name
from aunet.ranges import Range, Seed, Share, check_ranges
from pipelines.settings.job_config import ClusterConfig, Number, NumberOrZero, RetrainConfig, TuneConfig

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


Side = Annotated[int, Range(at_least=64, at_most=16_384)]
"""Pixels of a generated scene."""
ImageId = Annotated[int, Range(at_least=0, below=2**63)]
Decay = Annotated[float, Range(above=0, below=1)]
ALIAS = re.compile(r"(?!latest$)(?!v[0-9]+$).*", re.IGNORECASE)
"""Aliases that MLflow does not keep for itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapesConfig:
    """Generated scenes, written to the store as a COCO panoptic folder and read back like any other."""

    num_train: Number = 512
    num_val: Number = 64
    height: Side = 128
    width: Side = 160
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_ranges(self, "data.shapes")


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitConfig:
    """One split, in COCO panoptic format or of Cityscapes as distributed. Paths are relative to `data.root`."""

    images: str
    """Folder of the images."""
    panoptic_json: str = ""
    panoptic_dir: str = ""
    """Folder of the panoptic PNGs."""
    instances_json: str | None = None
    """If given, the things' boxes and (overlapping) masks come from it."""
    instance_ids: str = ""
    """Folder of Cityscapes' `*_instanceIds.png`, instead of `panoptic_json` and `panoptic_dir`."""
    cities: tuple[str, ...] = ()
    """With `instance_ids`: use only the folders of these cities; empty: all."""
    image_ids: tuple[ImageId, ...] = ()
    """Use only these images; empty: all."""

    @property
    def annotations(self) -> str:
        """Folder of the PNGs that annotate the images."""
        return self.instance_ids or self.panoptic_dir

    def problems(self, field: str) -> list[str]:
        """Contradictory or missing settings of this split, one message each; `field` names the split."""
        coco = self.panoptic_json, self.panoptic_dir
        if self.instance_ids and (any(coco) or self.instances_json):
            return [f"{field}.instance_ids = {self.instance_ids!r}: give this or the files in COCO format, not both"]
        if not self.instance_ids and not all(coco):
            return [f"{field}.panoptic_json, panoptic_dir = {coco!r}: give both, or instance_ids for Cityscapes"]
        if self.cities and not self.instance_ids:
            return [f"{field}.cities = {self.cities!r}: only Cityscapes has cities; give instance_ids or drop them"]
        return []


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Where the raw data is and how it is cut into shards."""

    root: str = ""
    """Folder or object-store URI to which the splits' paths are relative. Not used with `shapes`."""
    train: SplitConfig = SplitConfig(
        images="train2017",
        panoptic_json="annotations/panoptic_train2017.json",
        panoptic_dir="annotations/panoptic_train2017",
    )
    val: SplitConfig = SplitConfig(
        images="val2017",
        panoptic_json="annotations/panoptic_val2017.json",
        panoptic_dir="annotations/panoptic_val2017",
    )
    shapes: ShapesConfig | None = None
    """Generate the data instead of reading `root`."""
    rows_per_shard: Number = 256
    """Most images in a shard; most shards hold between half of this and all of it."""
    max_bad_fraction: Annotated[float, Range(at_least=0, below=1)] = 0.0
    """Largest share of a split's images that may be left out because they are defective."""

    def __post_init__(self) -> None:
        check_ranges(self, "data")
        check_ranges(self.train, "data.train")
        check_ranges(self.val, "data.val")
        check(bool(self.root) or self.shapes is not None, "data.root", self.root, "name the folder of the raw data")
        if problems := [*self.train.problems("data.train"), *self.val.problems("data.val")]:
            raise InputError(problems)


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

    num_workers: Number = 8
    """Data-parallel processes."""
    use_gpu: bool = True
    batch_size: Number = 16
    """Images per step, over all workers and all their forward passes."""
    micro_batch_size: Number | None = None
    """Most images in one forward pass; a worker with more images per step makes several passes and adds up their
    gradients. None: all in one pass."""
    epochs: Number = 18
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Range(above=0, at_most=1000)] = 0.02
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
    checkpoint_every: Number = 1
    """Epochs between checkpoints."""
    evaluate_every: NumberOrZero = 0
    """Epochs between evaluations on the validation split during training; 0: none, only `evaluate` afterwards."""
    val_images: NumberOrZero = 0
    """Images used by evaluations during training, a fixed choice; 0: the whole split."""
    max_failures: NumberOrZero = 3
    """How many times the group may restart from the newest checkpoint after losing a worker."""

    def __post_init__(self) -> None:
        check_ranges(self, "train")
        check(
            self.batch_size >= self.num_workers and self.batch_size % self.num_workers == 0,
            "train.batch_size",
            self.batch_size,
            f"use a multiple of train.num_workers = {self.num_workers}",
        )
        per_worker, size = self.batch_size // self.num_workers, self.micro_batch_size
        check(
            size is None or per_worker % min(size, per_worker) == 0,
            "train.micro_batch_size",
            size,
            f"use a divisor of the {per_worker} images of each worker (train.batch_size / train.num_workers), or None",
        )

    @property
    def accumulate(self) -> int:
        """Forward passes of each worker per step, whose gradients are added up."""
        per_worker = self.batch_size // self.num_workers
        return per_worker // min(self.micro_batch_size or per_worker, per_worker)


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
    writes the code's hash here."""

    def __post_init__(self) -> None:
        check_name("name", self.name)


def fingerprint(*parts: Any) -> str:
    """16 hex digits that identify the given configs, strings and JSON values together."""
    plain = [to_json(p) if dataclasses.is_dataclass(p) else p for p in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
