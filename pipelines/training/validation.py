"""Validation beside the training: tasks of their own measure checkpoints, one at a time, while the workers go on."""

from __future__ import annotations

import time
from typing import Any

import ray

from pipelines.data.sample_plan import SamplePlan
from pipelines.runtime.events import Event
from pipelines.settings.run_config import RunConfig
from pipelines.store.checkpoints import Checkpoint
from pipelines.training.remote import measure_checkpoint


class Validations:
    """The checkpoints of a run that are to be measured.

    Args:
        plan: of the run's steps.
    """

    def __init__(self, config: RunConfig, prepared_uri: str, plan: SamplePlan) -> None:
        self.config, self.prepared_uri, self.plan = config, prepared_uri, plan
        self.waiting: list[Checkpoint] = []
        self._last = 0
        self._task: Any = None
        cpus, gpus = (0, 1) if config.train.use_gpu else (1, 0)
        self._measure = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=1)(measure_checkpoint)

    @property
    def measured(self) -> int:
        """The step up to which no checkpoint waits to be measured, 0 before the first was."""
        return self.waiting[0].step - 1 if self.waiting else self._last

    def add(self, checkpoint: Checkpoint) -> None:
        """Measure a checkpoint, if its step is one that is measured."""
        if self.plan.ends_period(checkpoint.step, self.config.train.evaluate_every):
            self.waiting.append(checkpoint)

    def poll(self, seconds: float = 0.0) -> list[Event]:
        """Events of the measurements that have ended; waits for one for at most `seconds`."""
        if self._task is None and self.waiting:
            self._task = self._measure.remote(self.config, self.prepared_uri, self.waiting[0])
        if self._task is None or not ray.wait([self._task], timeout=seconds)[0]:
            return []
        task, checkpoint = self._task, self.waiting.pop(0)
        self._task, self._last, step = None, checkpoint.step, checkpoint.step
        try:
            metrics: Any = ray.get(task)
            figures = {"steps": self.plan.num_steps, "epoch": self.plan.epoch_of(step), **metrics}
            return [{"kind": "evaluation", "step": step, "at": time.time(), **figures}]
        except Exception as error:  # noqa: BLE001 - the training does not depend on it
            reason = " ".join(str(error).split())[-300:]
            return [
                {"kind": "warning", "step": step, "text": f"the checkpoint of step {step} is not measured: {reason}"}
            ]
