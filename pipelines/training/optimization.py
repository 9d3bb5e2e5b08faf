"""Optimiser, learning rate and averaged weights. The learning rate is a function of the step, so it needs no state."""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from aunet.losses import LearnedWeights
from aunet.model.backbone import PyramidBackbone
from pipelines.settings.run_config import TrainConfig

BACKBONES = ("backbone.body.", "background_backbone.body.")
"""Beginnings of the names of parameters that may have been trained before."""
WEIGHTS_FACTOR = 10.0
"""Learning rate of learned loss weights, as a multiple: four numbers that have to move by whole units, not by 0.01."""
LEAST_SCALE = 1e-4
"""Loss scale below which fp16 training is given up."""
SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")  # torch 2.13 renamed it
    if name in inspect.signature(DistributedDataParallel).parameters
)
"""Argument of DistributedDataParallel: whether rank 0's buffers are sent to the others before every pass."""


def build_optimizer(
    model: nn.Module, config: TrainConfig, learned: LearnedWeights | None = None
) -> torch.optim.Optimizer:
    """SGD or AdamW over the trainable parameters; norms and biases without decay unless `decay_norms`.

    A backbone with learning rates of its own is in groups that are marked `is_backbone`, from the top stage down.

    Args:
        learned: weights of the losses that are trained too, without decay.
    """
    has_own_rate = config.backbone_lr_factor != 1 or config.stage_lr_decay != 1 or config.backbone_frozen_epochs > 0
    depths = _depths(model) if config.stage_lr_decay != 1 else {}
    sorted_groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_backbone = has_own_rate and name.startswith(BACKBONES)
            is_plain = parameter.ndim <= 1 and not config.decay_norms
            depth = depths.get(name, 0) if is_backbone else -1
            group: dict[str, Any] = {"params": [], "weight_decay": 0.0 if is_plain else config.weight_decay}
            if is_backbone:
                factor = config.backbone_lr_factor * config.stage_lr_decay**depth
                group |= {"is_backbone": True, "lr_factor": factor}
            sorted_groups.setdefault((depth, is_plain), group)["params"].append(parameter)
    groups = [group for _, group in sorted(sorted_groups.items(), key=lambda entry: entry[0])]
    if learned is not None:
        groups.append({"params": [*learned.parameters()], "weight_decay": 0.0, "lr_factor": WEIGHTS_FACTOR})
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.peak_lr, fused=True)
    optimizer = torch.optim.SGD(groups, lr=config.peak_lr, momentum=config.momentum, fused=True)
    if config.precision == "fp16":  # a skipped first step would leave momentum uninitialised
        for parameter in (p for group in groups for p in group["params"]):
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _depths(model: nn.Module) -> dict[str, int]:
    """By the names of the backbones' parameters, how many stages are above their own."""
    return {
        f"{prefix}.body.{name}": 4 - stage
        for prefix, module in model.named_modules()
        if isinstance(module, PyramidBackbone)
        for name, stage in module.stages().items()
    }


def ddp_settings(model: nn.Module) -> dict[str, Any]:
    """How DistributedDataParallel wraps the network.

    No search for unused parameters: every parameter has a gradient in every pass, images without things included. No
    static graph: it fails on a pass whose gradients are not exchanged, and without that search it would save nothing.
    The gradients are views of the buffers that travel. Buffers are broadcast only where batch norm changes them.
    """
    collects = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    return {"find_unused_parameters": False, "gradient_as_bucket_view": True, SYNC_BUFFERS: collects}


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
    return config.peak_lr * warm * factor


def group_rate(group: dict[str, Any], config: TrainConfig, step: int, num_steps: int) -> float:
    """The learning rate of a group of `build_optimizer` at `step`."""
    is_frozen = bool(group.get("is_backbone")) and step * config.epochs < config.backbone_frozen_epochs * num_steps
    return 0.0 if is_frozen else learning_rate(config, step, num_steps) * group.get("lr_factor", 1.0)


class _Average(AveragedModel):
    """torch's own update sends its counter to the device and reads it back at every step; here it stays on the CPU."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        count = int(self.n_averaged)
        keep = min(self.decay, (1 + count) / (10 + count)) if count else 0.0
        averages, current = (_floats_and_counters(m) for m in (self.module, model))
        torch._foreach_lerp_(averages[0], current[0], 1 - keep)
        if averages[1]:
            torch._foreach_copy_(averages[1], current[1])
        self.n_averaged += 1


def _floats_and_counters(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and statistics, and batch norm's counters."""
    tensors = [*model.parameters(), *model.buffers()]
    return [t for t in tensors if t.is_floating_point()], [t for t in tensors if not t.is_floating_point()]


def average_weights(model: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of weights and buffers; the decay rises from 0.1 with the number of updates."""
    return _Average(model, decay)


class LossScaler(torch.amp.GradScaler):
    """Scales the loss of fp16, whose small gradients would vanish; skips steps whose gradients are too large.

    Without fp16 it does nothing. Nothing is read back from the device until a figure is asked for.
    """

    def __init__(self, device: torch.device, *, enabled: bool) -> None:
        super().__init__(device.type, enabled=enabled)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        """Steps skipped so far."""
        self._one = torch.ones((), device=device)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """After a step: halve the scale where it was skipped, raise it after 2000 that were not."""
        if not self.is_enabled():
            return
        before = self.scale(self._one)
        super().update(new_scale)
        if new_scale is None:
            self.skipped += self.scale(self._one) < before

    def check(self) -> None:
        """Stop where scaling does not help.

        Raises:
            FloatingPointError: step after step was skipped.
        """
        if self.is_enabled() and self.get_scale() < LEAST_SCALE:
            raise FloatingPointError(
                f"train.precision = 'fp16': {int(self.skipped)} steps had gradients that were not finite, down to a "
                f"loss scale of {self.get_scale():.1g}; lower train.lr, set train.clip_norm or use bf16 or fp32"
            )

    def figures(self) -> dict[str, int]:
        """`skipped` with fp16, else nothing."""
        return {"skipped": int(self.skipped)} if self.is_enabled() else {}

    def state_dict(self) -> dict[str, Any]:
        """Scale and counters; empty without fp16."""
        return super().state_dict() | self.figures()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a `state_dict`; one of a run without fp16 changes nothing."""
        if state_dict and self.is_enabled():
            super().load_state_dict(state_dict)
            self.skipped.fill_(state_dict["skipped"])
