"""One attempt of a run: a group of workers, or one alone, from its start to its end, watched by the driver."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.exceptions import WorkerCrashedError
from ray.train import ControllerError, FailureConfig, RunConfig as RayRunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from pipelines.runtime.board import Beat
from pipelines.runtime.events import Event
from pipelines.runtime.nodes import end_process, living_nodes
from pipelines.training.assignment import Assignment
from pipelines.training.remote import work

ALONE = "train_alone"
"""Name of the task that is the only worker of its attempt."""
COLLECTIVE_SECONDS = 1800
"""A rank that waits longer for another one's gradients gives up; the driver ends one that hangs much earlier."""
ECHOES = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "processgroup", "broken pipe")
"""What the errors of those ranks say whose partner was lost."""
START_TIMEOUT = "WorkerGroupStartupTimeoutError"
"""Ray's own, which it does not export."""
WORKER_ENVIRONMENT = {"TORCH_NCCL_TRACE_BUFFER_SIZE": "2000", "TORCH_NCCL_DUMP_ON_TIMEOUT": "1"}
"""NCCL's flight recorder: what every rank was waiting for when one did not come."""


class Attempt:
    """A group of workers that Ray Train starts, or one that is a task of Ray; the driver begins another attempt.

    A task's process stays warm for the next run of a study, and needs none of the five processes around a group.

    Args:
        assignment: for every worker.
        work: what every worker runs, given `assignment` and `board`.
    """

    def __init__(
        self,
        assignment: Assignment,
        board: Any,
        num_workers: int,
        work: Callable[[dict[str, Any]], None] = work,
    ) -> None:
        self.assignment, self.num_workers, self.work = assignment, num_workers, work
        self.board = board
        self.error: Exception | None = None
        """What Ray reports, once the group has ended."""
        self._thread = threading.Thread(target=self._fit, name=f"attempt {assignment.attempt}", daemon=True)
        self._thread.start()

    def has_ended(self, seconds: float) -> bool:
        """Whether no worker is left; waits for that for at most `seconds`."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _fit(self) -> None:
        settings = {"assignment": self.assignment, "board": self.board, "is_alone": self.num_workers == 1}
        try:
            self._run_alone(settings) if self.num_workers == 1 else self._run_group(settings)
        except Exception as error:  # noqa: BLE001 - the driver looks at it
            self.error = error

    def _run_alone(self, settings: dict[str, Any]) -> None:
        use_gpu = self.assignment.config.train.use_gpu
        options: dict[str, Any] = {"num_cpus": int(not use_gpu), "num_gpus": int(use_gpu), "max_retries": 0}
        task = ray.remote(**options)(self.work)
        outside = "DEFAULT"  # not inside what Ray Tune reserves for a trial
        ray.get(task.options(name=ALONE, scheduling_strategy=outside).remote(settings))

    def _run_group(self, settings: dict[str, Any]) -> None:
        train = self.assignment.config.train
        tries = 0 if train.min_workers < train.max_workers else -1  # where fewer would do, its driver chooses again
        with tempfile.TemporaryDirectory() as scratch:  # Ray keeps nothing that counts
            TorchTrainer(
                self.work,
                train_loop_config=settings,
                torch_config=TorchConfig(timeout_s=COLLECTIVE_SECONDS),
                scaling_config=ScalingConfig(num_workers=self.num_workers, use_gpu=train.use_gpu),
                run_config=RayRunConfig(
                    name=self.assignment.attempt,
                    storage_path=scratch,
                    failure_config=FailureConfig(max_failures=0, controller_failure_limit=tries),
                    worker_runtime_env={"env_vars": WORKER_ENVIRONMENT} if train.use_gpu else {},
                ),
            ).fit()


def end_workers(beats: Mapping[int, Beat]) -> None:
    """Kill the workers of an attempt that nobody can stop any more."""
    for beat in beats.values():
        end_process(beat.pid, beat.node)


def found_no_room(error: Exception) -> bool:
    """Whether the group could not start in time: what there was room for was lost, or taken by others, meanwhile."""
    return isinstance(error, ControllerError) and type(error.controller_failure).__name__ == START_TIMEOUT


def cause_of_failure(error: Exception, failures: list[Event], beats: Mapping[int, Beat]) -> str:
    """What ended a group of workers, in words.

    Args:
        error: what Ray reports.
        failures: events of that kind, in the order in which they came.
        beats: the last sign of life of every rank.
    """
    alive = living_nodes()
    lost = [beat for beat in beats.values() if beat.node not in alive]
    if lost:
        ranks = ", ".join(str(beat.rank) for beat in lost)
        return f"node {lost[0].host} with rank {ranks} was lost"
    own = [event for event in failures if not is_echo(event)]
    if own:
        return f"rank {own[0]['rank']} failed at step {own[0]['step']}: {own[0]['error']}{_advice(own[0]['error'])}"
    reported = {event["rank"] for event in failures}
    silent = [beats[rank] for rank in sorted(beats) if rank not in reported]
    if silent and (failures or isinstance(error, WorkerCrashedError)):
        return f"{silent[0]} was killed at step {silent[0].step}"
    ranks = getattr(error, "worker_failures", None) or {}
    for rank, failure in sorted(ranks.items()):
        if "died" in str(failure) or "killed" in str(failure):
            return f"{beats.get(rank, f'rank {rank}')} was killed"
    return f"the group failed: {' '.join(str(error).split())[:300]}"


def is_echo(failure: Event) -> bool:
    """Whether a rank failed only because another one was lost."""
    return any(word in failure["error"].lower() for word in ECHOES)


def _advice(error: str) -> str:
    if "out of memory" in error.lower() or "can't allocate memory" in error.lower() or error.startswith("MemoryError"):
        return "; where it happens again, lower train.micro_batch_size or augment.max_size"
    return ""
