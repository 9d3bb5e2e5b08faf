"""A training on more GPUs, and on machines that fail: a model in closed form, as `plan` prints it.

Every GPU keeps its images per step, so the batch grows with their number. Its own work takes as long as it did in the
run that was measured. Gradients travel in buckets of 25 MB while the backward pass, two thirds of that work, goes on;
what does not fit beside it, and the last bucket, is waited for. A ring over n GPUs moves 2 (n - 1) / n times the
gradients at the bandwidth of its slowest link, the network's as soon as there are several machines, and every bucket
needs 2 log2(n) messages. Not in the model: images of different sizes, for whose slowest all others wait, and decoding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipelines.settings.run_config import TrainConfig
from pipelines.training.gpus import GPUS_PER_MACHINE

NUM_GPUS = (8, 64, 256)
"""Sizes of cluster that a plan looks at."""
BUCKET = 25 * 2**20
"""Bytes; DistributedDataParallel's default."""
BACKWARD = 2 / 3
"""Share of a step in which gradients can travel."""
MESSAGE_SECONDS = 20e-6
"""Of one message; assumed."""
MACHINE_BYTES_PER_S = 130e9
"""Between the GPUs of a machine: the order of what nccl-tests prints as bus bandwidth for eight V100s over NVLink;
assumed, not measured here."""
NETWORK_GBIT_PER_S = 100.0
"""Of a machine: that of EC2's p3dn.24xlarge and g5.48xlarge."""
RESTART_SECONDS = 60.0
"""From a failure to the next step, where no run has measured it; assumed."""
STORE_BYTES_PER_S = 200e6
"""Of a checkpoint on its way to the store, where no run has measured it; assumed."""
HOST_BYTES_PER_S = 5e9
"""Of the copy from which a checkpoint is written, where no run has measured it; assumed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaled:
    """A training on `gpus` GPUs."""

    gpus: int
    all_reduce_s: float
    """Per step, from the first bucket to the last."""
    images_per_s: float
    efficiency: float
    """Share of the step in which a GPU computes."""
    hours: float | None
    """Of all epochs; None: the number of images is not known."""


def batch_product(train: TrainConfig) -> dict[str, int]:
    """What the `images` of a step multiply to: `workers` × images `at_once` × passes that `accumulate`."""
    passes = train.micro_batches
    return {
        "images": train.batch_size,
        "workers": train.max_workers,
        "at_once": train.batch_size // passes,
        "accumulate": passes // train.max_workers,
    }


def scaled(
    gpus: int, gradient_bytes: int, step_s: float, images: int, total: int | None, network_gbit_per_s: float
) -> Scaled:
    """The model above.

    Args:
        gradient_bytes: of all gradients.
        step_s: what one GPU computes in a step, without waiting for others.
        images: of one GPU in a step.
        total: images of the whole training.
        network_gbit_per_s: of each machine.
    """
    per_s = MACHINE_BYTES_PER_S
    if gpus > GPUS_PER_MACHINE:
        per_s = min(per_s, network_gbit_per_s * 1e9 / 8)
    buckets = max(1, math.ceil(gradient_bytes / BUCKET))
    travel = 2 * (gpus - 1) / gpus * gradient_bytes / per_s
    all_reduce = travel + buckets * 2 * math.log2(gpus) * MESSAGE_SECONDS
    waiting = max(all_reduce - BACKWARD * step_s, all_reduce / buckets)
    images_per_s = gpus * images / (step_s + waiting)
    return Scaled(
        gpus=gpus,
        all_reduce_s=all_reduce,
        images_per_s=images_per_s,
        efficiency=step_s / (step_s + waiting),
        hours=total / images_per_s / 3600 if total else None,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Saving:
    """What checkpoints and failures cost."""

    stall_s: float
    """For how long a checkpoint keeps the workers from training."""
    write_s: float
    """From its beginning until it counts."""
    restart_s: float
    """From a failure to the next step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """How often to save."""

    minutes: float
    """Between checkpoints."""
    goodput: float
    """Share of the time that leads to the result."""
    lost_minutes: float
    """Per failure: work done again, and the restart."""


def best_interval(saving: Saving, mtbf_hours: float) -> Interval:
    """Young's interval in Daly's form, √(2 C M) - C: C is the stall, M the mean time between failures.

    A failure costs half an interval, the time in which the newest checkpoint did not count yet, and the restart. The
    next checkpoint cannot begin before the last one is written, which bounds the interval from below.
    """
    mean, stall = mtbf_hours * 3600, saving.stall_s
    ideal = math.sqrt(2 * stall * mean) - stall if stall < mean / 2 else mean
    interval = max(ideal, saving.write_s, 1.0)
    lost = interval / 2 + saving.write_s + saving.restart_s
    goodput = 1 / (1 + stall / interval) * mean / (mean + lost)
    return Interval(minutes=interval / 60, goodput=goodput, lost_minutes=lost / 60)


def estimated_saving(state_bytes: int) -> Saving:
    """What a checkpoint of so many bytes costs, by the assumptions above."""
    return Saving(
        stall_s=state_bytes / HOST_BYTES_PER_S,
        write_s=state_bytes / STORE_BYTES_PER_S,
        restart_s=RESTART_SECONDS,
    )
