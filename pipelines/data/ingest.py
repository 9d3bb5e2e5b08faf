"""The batches of every step, as `sample_plan` orders them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from aunet.categories import Categories
from aunet.config import AugmentConfig
from aunet.data.augment import augment
from aunet.data.sample import collate, decode_sample, to_target
from pipelines.data.sample_plan import Draw, SamplePlan, fixed_choice as fixed_choice

if TYPE_CHECKING:
    from aunet.categories import ThingLabels
    from aunet.structures import Batch, Target
    from pipelines.data.shards import ShardReader


@dataclass(frozen=True)
class _Steps:
    """The steps of one rank, as a batch sampler."""

    plan: SamplePlan
    first_step: int
    rank: int
    world_size: int

    def __len__(self) -> int:
        return self.plan.num_steps - self.first_step

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in range(self.first_step, self.plan.num_steps):
            yield self.plan.batch(step)[self.rank :: self.world_size]


class _TrainingSamples(Dataset["tuple[np.ndarray, Target]"]):
    def __init__(
        self, reader: ShardReader, categories: Categories, config: AugmentConfig, thing_labels: ThingLabels, seed: int
    ) -> None:
        self.reader, self.categories, self.config = reader, categories, config
        self.thing_labels: ThingLabels = thing_labels
        self.seed = seed

    def __getitem__(self, draw: Draw) -> tuple[np.ndarray, Target]:  # type: ignore[override]
        sample = decode_sample(self.reader.row(draw.index), self.categories)
        rng = np.random.default_rng([self.seed, draw.epoch, sample.image_id])
        sample = augment(sample, self.config, rng)
        return sample.image, to_target(sample, self.categories, self.thing_labels)


def training_batches(
    reader: ShardReader,
    plan: SamplePlan,
    categories: Categories,
    config: AugmentConfig,
    thing_labels: ThingLabels,
    *,
    first_step: int,
    rank: int,
    world_size: int,
    loader_workers: int,
) -> Iterator[Batch]:
    """This rank's part of every global batch from `first_step` to the end of the plan.

    Args:
        loader_workers: processes that decode ahead; 0 decodes in this process.
    """
    loader = DataLoader(
        _TrainingSamples(reader, categories, config, thing_labels, plan.seed),
        batch_sampler=_Steps(plan, first_step, rank, world_size),  # type: ignore[arg-type]
        num_workers=loader_workers,
        collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="spawn" if loader_workers else None,
        persistent_workers=False,
    )
    return iter(loader)


def _collate(samples: list[tuple[np.ndarray, Target]]) -> Batch:
    images, targets = zip(*samples, strict=True)
    return collate(images, targets)
