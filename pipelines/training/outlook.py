"""What a training will need, before anything of it has run: the model behind `plan`."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from aunet.categories import Categories
from aunet.config import AugmentConfig
from aunet.model.memory import TrainingCosts, training_costs
from aunet.model.precision import autocast_dtype
from pipelines.settings.run_config import RunConfig
from pipelines.training.gpus import GPUS, UTILISATION, Gpu, gpu_called

THINGS = 20
"""Things of an image whose number is not known; 95 % of COCO's images have fewer."""
STRIDE = 32
"""Padded sizes are multiples of it."""
HEAP_LOSS = 0.36
"""What the C library's heap keeps between tensors, by their bytes: measured on two presets, checked on others by
benchmarks/memory.py."""
LIBRARIES = 35_000_000
"""Bytes of code and tables that the first step loads, on a CPU; measured."""
CPU_PROCESS, GPU_PROCESS = 770_000_000, 600_000_000
"""Bytes of a process that has imported everything (measured), and of CUDA's context on its GPU (assumed)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes of a worker at its peak, by what holds them."""

    weights: int
    average: int
    """Averaged weights."""
    optimizer: int
    """Moments."""
    buckets: int
    """Gradients on their way between workers."""
    passes: int
    """The most that a forward and backward pass adds: images, targets, activations, gradients."""
    snapshot: int
    """The copy from which a checkpoint is written; with GPUs it lies on the host, and does not count here."""
    heap: int
    """What is lost between tensors; not known for GPUs, and 0."""
    process: int
    """What the process needs before there is a network, its libraries included."""

    @property
    def total(self) -> int:
        """All of them together."""
        return sum(asdict(self).values())

    @property
    def arithmetic(self) -> str:
        """The sum in words."""
        terms = (f"{name} {value / 1e9:.2f}" for name, value in asdict(self).items() if value)
        return f"{' + '.join(terms)} = {self.total / 1e9:.2f} GB"


def input_size(augment: AugmentConfig) -> tuple[int, int]:
    """(height, width) of the largest padded image of a training."""
    height, width = augment.crop or (max(augment.short_sides), augment.max_size)
    return -(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE


def pass_costs(config: RunConfig, categories: Categories, things: int = THINGS) -> TrainingCosts:
    """Costs of one forward and backward pass of a worker, over the largest images."""
    train = config.train
    images = train.batch_size // train.micro_batches
    # By the CPU's autocast, which needs no GPU: it has the same maps in 16 bits, because our norms keep the format of
    # theirs (`aunet.model.norm`), but for timm's layer norms (float32 on GPUs) and depthwise convolutions (on CPUs). It
    # knows one of the two formats, which are equally long.
    if train.use_gpu:
        precision = None if train.precision == "fp32" else torch.bfloat16
    else:
        precision = autocast_dtype(train.precision, torch.device("cpu"))
    # Of several workers, the buckets in which gradients travel are the gradients after the last pass of a step.
    keep = train.max_workers == 1 or train.micro_batches > train.max_workers
    size = input_size(config.augment)
    return training_costs(config.model, categories, size, images, things, precision, keep_gradients=keep)


def flops_per_image(config: RunConfig, categories: Categories) -> float:
    """Operations of a training, forward and backward, for one of the largest images."""
    return pass_costs(config, categories).flops * config.train.micro_batches / config.train.batch_size


def peak_memory(config: RunConfig, costs: TrainingCosts) -> Memory:
    """The memory of rank 0, which also writes the checkpoints.

    From the second step on: weights, moments and averages exist, then a pass adds its own. Several workers exchange
    their gradients in buckets; a pass whose gradients are not exchanged yet has its own besides.

    Args:
        costs: from `pass_costs`.
    """
    train = config.train
    average = costs.weights if train.ema else 0
    optimizer = costs.trained * (2 if train.optimizer == "adamw" else 1)
    return Memory(
        weights=costs.weights,
        average=average,
        optimizer=optimizer,
        buckets=costs.trained if train.max_workers > 1 else 0,
        passes=costs.peak,
        snapshot=0 if train.use_gpu else costs.weights + average + optimizer,
        heap=0 if train.use_gpu else int(HEAP_LOSS * costs.heap),
        process=GPU_PROCESS if train.use_gpu else CPU_PROCESS + LIBRARIES,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What a training needs by the model, before it has run."""

    memory: Memory
    gradient_bytes: int
    state_bytes: int
    """Of a checkpoint."""
    gpu: Gpu | None
    """The one that it is to run on; None: unknown, or none."""
    step_s: float | None
    """What one GPU computes in a step, by its peak and an assumed utilisation; None: unknown."""


def predict(config: RunConfig, categories: Categories, gpu: str | None) -> Forecast:
    """Predict memory and time of a training.

    Args:
        gpu: one of `GPUS`; None: the one of this machine, if it has any.
    """
    train, costs = config.train, pass_costs(config, categories)
    memory = peak_memory(config, costs)
    device = (GPUS[gpu] if gpu else _own_gpu()) if train.use_gpu else None
    passes = train.micro_batches / train.max_workers
    return Forecast(
        memory=memory,
        gradient_bytes=costs.trained,
        state_bytes=memory.weights + memory.average + memory.optimizer,
        gpu=device,
        step_s=passes * costs.flops / (UTILISATION * device.flops) if device else None,
    )


def _own_gpu() -> Gpu | None:
    return gpu_called(torch.cuda.get_device_name()) if torch.cuda.is_available() else None


def too_large(config: RunConfig, prediction: Forecast) -> str | None:
    """Why the training does not fit on its GPU; None: it does, or that is not known."""
    memory, gpu, train = prediction.memory, prediction.gpu, config.train
    if gpu is None or memory.total <= gpu.memory_gb * 1e9:
        return None
    images = train.batch_size // train.micro_batches
    height, width = input_size(config.augment)
    smaller = f"--train.micro_batch_size {images // 2}, " if images > 1 else ""
    return (
        f"train.batch_size = {train.batch_size}: a forward pass of {images} × {height} × {width} pixels needs "
        f"{memory.arithmetic}, but the GPU has {gpu.memory_gb:g} GB; use {smaller}a smaller augment.max_size or "
        "augment.crop, or a larger GPU"
    )


def sharding(prediction: Forecast) -> str:
    """Whether the weights would have to be divided among GPUs, by the arithmetic."""
    memory = prediction.memory
    held = memory.weights + memory.average + memory.optimizer + memory.buckets
    text = f"every GPU holds all weights, averages, moments and gradients: {held / 1e9:.2f} GB"
    if prediction.gpu is None:
        return text
    share = held / (prediction.gpu.memory_gb * 1e9)
    verdict = "sharding them (FSDP2) would gain little" if share < 0.5 else "sharding them (FSDP2) would be needed"
    return f"{text}, {share:.0%} of its memory; {verdict}"
