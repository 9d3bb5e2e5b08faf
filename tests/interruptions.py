"""A training in this process that is interrupted at random points and begun again by a new worker each time."""

from __future__ import annotations

import contextlib
import random
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from pipelines import presets
from pipelines.runtime.board import LocalLink
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.store.artifacts import PreparedData
from pipelines.store.run_folder import RunFolder
from pipelines.training.assignment import Assignment
from pipelines.training.checkpoint import stored_state
from pipelines.training.group import Group
from pipelines.training.proving.audit import computed, consumed, lost_and_doubled, planned
from pipelines.training.proving.states import hashes_of
from pipelines.training.worker import Worker
from tests.crashes import Crash, Killed

BATCH, IMAGES = 2, 7
PHASES = ("input", "step", "checkpoint")
"""What a worker says before it does it: an interruption comes there."""
MAX_OPERATION = 90
"""Operations of the saver's thread within which an interruption comes: a checkpoint has about 35."""


def interrupted_config(steps: int) -> RunConfig:
    """Epochs of three and a half steps, a checkpoint whenever the one before is stored."""
    changes = {
        "data.shapes.num_train": IMAGES, "data.shapes.num_val": 1, "data.shapes.height": 64, "data.shapes.width": 64,
        "augment.crop": [64, 64], "augment.short_sides": [64], "model.backbone.fpn_channels": 8,
        "model.rpn.num_samples": 8, "model.rpn.pre_nms_top_n": [20, 20], "model.rpn.post_nms_top_n": [10, 10],
        "model.foreground.box_channels": 8, "model.foreground.mask_channels": 8, "model.foreground.num_samples": 8,
        "model.foreground.mask_convs": 1, "model.background.channels": 8, "model.attention.channels": 8,
        "train.batch_size": BATCH, "train.epochs": -(-steps * BATCH // IMAGES), "train.num_workers": 1,
        "train.optimizer": "sgd", "train.checkpoint_every": 1, "train.checkpoint_minutes": 0.001, "train.ema": None,
        "train.warmup_steps": 0, "train.clip_norm": 1.0,
    }  # fmt: skip
    return override(presets.shapes_smoke(), changes)


class DyingLink(LocalLink):
    """Ends the worker at one step and phase, or as soon as its saver has died."""

    def __init__(self, step: int, phase: str, crash: Crash) -> None:
        super().__init__()
        self.step, self.phase, self.crash = step, phase, crash

    def progress(self, step: int, phase: str) -> None:
        """Die here, or go on."""
        self.crash.check()
        if step >= self.step and phase == self.phase:
            self.crash.fired.set()
            self.crash.check()


@dataclass
class Interrupted:
    """What became of a run."""

    interruptions: Counter[str] = field(default_factory=Counter)
    """By where they came."""
    steps: set[int] = field(default_factory=set)
    """At which steps."""
    hashes: dict[str, str] = field(default_factory=dict)
    earlier: dict[str, str] = field(default_factory=dict)
    """Of the checkpoint before the last."""
    lost: int = 0
    doubled: int = 0


class Runs:
    """Runs of one configuration in folders below `root`; operations on their temporary files count, too."""

    def __init__(self, config: RunConfig, prepared: PreparedData, root: Path) -> None:
        self.config, self.prepared, self.root = config, prepared, root
        self.scratch = root / "scratch"
        self.scratch.mkdir(parents=True)

    def undisturbed(self) -> Interrupted:
        """A run that nobody interrupts."""
        self._train("undisturbed", Crash(0), LocalLink(), "whole")
        return self._result("undisturbed", Interrupted())

    def interrupted(self, times: int, seed: int) -> Interrupted:
        """A run that is interrupted so often, then left alone."""
        dice, result = random.Random(seed), Interrupted()
        attempt = 0
        while result.interruptions.total() < times:
            self._interrupt(f"seed{seed}", f"a{attempt}", dice, result)
            attempt += 1
            assert attempt < 10 * times, "the run has too few steps for so many interruptions"
        self._train(f"seed{seed}", Crash(0), LocalLink(), f"a{attempt}")
        return self._result(f"seed{seed}", result)

    def _interrupt(self, name: str, attempt: str, dice: random.Random, result: Interrupted) -> None:
        in_saver = dice.random() < 0.6
        crash = Crash(
            dice.randint(1, MAX_OPERATION) if in_saver else 0, self.root / name, self.scratch, after=dice.random() < 0.5
        )
        newest = RunFolder(str(self.root / name)).checkpoints.complete()
        begin = newest[-1].step if newest else 0
        link = DyingLink(begin + dice.randint(0, 3) if not in_saver else 10**6, dice.choice(PHASES), crash)
        with contextlib.suppress(Killed):
            self._train(name, crash, link, attempt)
        if crash.fired.is_set():
            result.interruptions[crash.where or link.phase] += 1
            result.steps.update(step.step for step in computed(str(self.root / "audit" / name))[-1:])

    def _train(self, name: str, crash: Crash, link: LocalLink, attempt: str) -> None:
        assignment = Assignment(
            config=self.config,
            prepared_uri=self.prepared.uri,
            run_uri=str(self.root / name),
            attempt=attempt,
            audit_uri=str(self.root / "audit" / name),
        )
        with self._temporary(), crash.armed():
            try:
                Worker(assignment, Group(), link).run()
                crash.check()
            finally:
                for thread in threading.enumerate():
                    if thread.name == "checkpoint":
                        thread.join()

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[None]:
        with mock.patch.object(tempfile, "tempdir", str(self.scratch)):
            yield

    def _result(self, name: str, result: Interrupted) -> Interrupted:
        *_, earlier, last = RunFolder(str(self.root / name)).checkpoints.complete()
        progress, state = stored_state(last)
        result.hashes, result.earlier = hashes_of(state), hashes_of(stored_state(earlier)[1])
        entries = computed(str(self.root / "audit" / name))
        result.lost, result.doubled = lost_and_doubled(
            planned(self.config, self.prepared.uri), consumed(entries, progress)
        )
        return result
