"""The ranks of a training: who this process is, and what they agree on without the device having to wait."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipelines.training.optimization import ddp_settings

T = TypeVar("T")
CPU = torch.device("cpu")
TIMEOUT = timedelta(minutes=30)
"""Of what the ranks agree on: no limit, since the driver ends a worker that hangs."""


@dataclass(frozen=True)
class Group:
    """One rank of several; alone it needs no process group."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = CPU
    control: Any = None
    """Process group over the hosts, beside the one that adds up gradients."""

    @classmethod
    def alone(cls) -> Group:
        """The only worker, a task of Ray: on the GPU that it has, or else on the CPU."""
        return cls(device=torch.device("cuda", 0) if ray.get_gpu_ids() else CPU)

    @classmethod
    def of_ray(cls) -> Group:
        """This worker of Ray Train."""
        context = ray.train.get_context()
        rank, world_size = context.get_world_rank(), context.get_world_size()
        control = dist.new_group(backend="gloo", timeout=TIMEOUT) if world_size > 1 else None
        return cls(rank, world_size, ray.train.torch.get_device(), control)

    def replicate(self, model: nn.Module) -> nn.Module:
        """The network on this rank's device, which adds up gradients with the other ranks where there are any."""
        if self.world_size == 1:
            return model.to(self.device)
        return ray.train.torch.prepare_model(model, parallel_strategy_kwargs=ddp_settings(model))

    def begin_vote(self, yes: bool) -> Vote:
        """Ask all ranks whether any of them says yes; every rank asks at the same steps."""
        flag = torch.tensor([int(yes)])
        work = dist.all_reduce(flag, dist.ReduceOp.MAX, group=self.control, async_op=True) if self.control else None
        return Vote(flag, work)

    def add_up(self, values: Tensor) -> Tensor:
        """The sum over all ranks, on the CPU."""
        total = values.detach().cpu().clone()
        if self.control:
            dist.all_reduce(total, group=self.control)
        return total

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, by rank."""
        values: list[Any] = [value] * self.world_size
        if self.control:
            dist.all_gather_object(values, value, group=self.control)
        return values

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Rank 0's values in the tensors of all ranks: statistics of batch norm, which gradients do not make equal."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def broadcast(self, value: T) -> T:
        """Rank 0's value."""
        values = [value]
        if self.control:
            dist.broadcast_object_list(values, src=0, group=self.control)
        return values[0]


@dataclass(frozen=True)
class Vote:
    """A question to all ranks that is on its way."""

    flag: Tensor
    work: Any

    def result(self) -> bool:
        """The answer, the same on every rank; waits for the slowest."""
        if self.work is not None:
            self.work.wait()
        return bool(self.flag)
