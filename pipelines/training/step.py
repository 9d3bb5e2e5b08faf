"""One optimiser step of one rank: micro-batches forward and backward, then the update. Knows torch, not Ray."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from aunet.losses import LearnedWeights, Losses
from aunet.model.precision import autocast_dtype
from aunet.structures import PackedBatch
from pipelines.settings.run_config import RunConfig
from pipelines.training.checkpoint import Stateful
from pipelines.training.optimization import LossScaler, average_weights, build_optimizer, group_rate
from pipelines.training.timing import Stopwatch, time_exchange


class TrainingStep:
    """A network with all that its training changes.

    Args:
        model: the network, on `device`.
        replica: the same, wrapped where several ranks share their gradients.
        num_steps: of the whole run.
        watch: times the phases of every step; None: one of its own.
    """

    def __init__(
        self,
        config: RunConfig,
        model: nn.Module,
        replica: nn.Module,
        device: torch.device,
        rank: int,
        world_size: int,
        num_steps: int,
        watch: Stopwatch | None = None,
    ) -> None:
        self.train, self.loss, self.num_steps = config.train, config.loss, num_steps
        self.model, self.replica, self.device = model, replica, device
        self.rank, self.world_size = rank, world_size
        self.watch = watch or Stopwatch(device)
        time_exchange(replica)
        self.precision = autocast_dtype(config.train.precision, device)
        self.learned = LearnedWeights(config.loss).to(device) if config.train.loss_weighting == "uncertainty" else None
        self.optimizer = build_optimizer(model, config.train, self.learned)
        self.scaler = LossScaler(device, enabled=self.precision == torch.float16)
        self.average = average_weights(model, config.train.ema) if config.train.ema else None

    def total(self, losses: Losses) -> Tensor:
        """The joint loss, by the weights as they are now."""
        return losses.total(self.loss) if self.learned is None else self.learned(losses)

    def figures(self) -> dict[str, float]:
        """Learned weights as they are now, and what the scaler of fp16 has to say."""
        weights = {} if self.learned is None else self.learned.current()
        return {f"weight_{name}": value for name, value in weights.items()} | self.scaler.figures()

    def __call__(self, step: int, micro_batches: Sequence[PackedBatch]) -> Losses:
        """Do step number `step` (from 0) on this rank's micro-batches.

        Returns:
            The sum of their losses, without gradients; over all ranks and passes, it adds up to `micro_batches` times
            the step's loss.
        """
        losses = self.add_up_gradients(step, micro_batches)
        with self.watch.phase("optimizer"):
            self.update(step)
        return losses

    def add_up_gradients(self, step: int, micro_batches: Sequence[PackedBatch]) -> Losses:
        """Forward and backward for every micro-batch; the gradients of other ranks are added with the last one.

        Random numbers belong to the step and the micro-batch, whichever rank computes it.
        """
        self.replica.train()
        self.optimizer.zero_grad(set_to_none=True)
        seen = []
        for turn, batch in enumerate(micro_batches):
            number = self.rank + turn * self.world_size
            torch.manual_seed((self.train.seed * 1_000_003 + step) * self.train.micro_batches + number)
            with self._shares_gradients(turn + 1 == len(micro_batches)):
                autocast = torch.autocast(self.device.type, self.precision, enabled=self.precision is not None)
                with self.watch.phase("forward"), autocast:
                    losses: Losses = self.replica(batch.to(self.device))
                # The ranks' gradients are averaged: together they are the mean over all micro-batches.
                share = self.train.micro_batches / self.world_size
                with self.watch.phase("backward"):
                    self.scaler.scale(self.total(losses) / share).backward()
            seen.append(Losses(*(loss.detach() for loss in losses)))
        self._share_learned_gradients()
        return Losses(*(torch.stack(values).sum(0) for values in zip(*seen, strict=True)))

    def update(self, step: int) -> None:
        """Change the weights by the gradients; with fp16, leave them unchanged where a gradient is not finite."""
        for group in self.optimizer.param_groups:
            group["lr"] = group_rate(group, self.train, step, self.num_steps)
        if self.train.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.train.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update_parameters(self.model)

    def state(self) -> dict[str, Stateful | None]:
        """All that the next step depends on, by its name in a checkpoint."""
        return {
            "model": self.model,
            "average": self.average,
            "optimizer": self.optimizer,
            "scaler": self.scaler,
            "learned": self.learned,
        }

    def _share_learned_gradients(self) -> None:
        """Average the gradients of learned weights over the ranks, as DDP does those of the network."""
        if self.learned is not None and self.world_size > 1:
            for parameter in self.learned.parameters():
                assert parameter.grad is not None
                distributed.all_reduce(parameter.grad)
                parameter.grad /= self.world_size

    def _shares_gradients(self, shares: bool) -> AbstractContextManager[None]:
        if shares or not isinstance(self.replica, DistributedDataParallel):
            return nullcontext()
        return self.replica.no_sync()
