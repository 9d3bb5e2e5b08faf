"""Optimiser, learning rate and averaged weights. The learning rate is a function of the step, so it needs no state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

if TYPE_CHECKING:
    from pipelines.config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """SGD or AdamW over the trainable parameters; norms and biases without decay unless `decay_norms`."""
    decayed = [p for p in model.parameters() if p.requires_grad and (p.ndim > 1 or config.decay_norms)]
    plain = [p for p in model.parameters() if p.requires_grad and not (p.ndim > 1 or config.decay_norms)]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    groups = [g for g in groups if g["params"]]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, fused=True)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)


def learning_rate(config: TrainConfig, step: int, num_steps: int) -> float:
    """The learning rate of `step` in 0 … num_steps-1."""
    if step < config.warmup_steps:
        warm = config.warmup_factor + (1 - config.warmup_factor) * step / config.warmup_steps
    else:
        warm = 1.0
    done = step / num_steps
    if config.schedule == "step":
        factor = 0.1 ** sum(done * config.epochs >= milestone for milestone in config.milestones)
    else:
        start = 0.0 if config.schedule == "cosine" else 1 - config.cooldown
        factor = 0.5 * (1 + math.cos(math.pi * max(0.0, done - start) / (1 - start))) if done > start else 1.0
    return config.lr * warm * factor


def average_weights(model: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of weights and buffers; the decay rises from 0.1 with the number of updates."""

    def update(averages: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        keep = min(decay, (1 + int(count)) / (10 + int(count)))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, current, 1 - keep)
        else:  # batch norm's counters
            torch._foreach_copy_(averages, current)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)  # type: ignore[arg-type]


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The number format of autocast, or None for float32. `auto`: bf16 where the hardware computes in it."""
    if precision == "fp32":
        return None
    if precision == "bf16":
        return torch.bfloat16
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else None
