"""What every training worker runs: steps, evaluations, checkpoints. The driver's side is in `driver`."""

from __future__ import annotations

import copy
import resource
import time
from collections.abc import Sequence
from typing import Any

import torch

from aunet.losses import Losses
from aunet.model import AUNet
from aunet.predictor import Predictor
from aunet.structures import PackedBatch
from pipelines.data.ingest import Timed, sample_plan, training_batches
from pipelines.data.manifest import Manifest
from pipelines.data.sample_plan import fixed_choice
from pipelines.data.shards import ShardReader
from pipelines.data.step_decoder import StepDecoder
from pipelines.measuring.measurement import Measurement, measure
from pipelines.runtime.board import Link
from pipelines.runtime.events import Event
from pipelines.store import storage
from pipelines.store.checkpoints import Checkpoint
from pipelines.store.run_folder import RunFolder
from pipelines.training.assignment import Assignment
from pipelines.training.checkpoint import DamagedCheckpoint, Progress, load_state, state_of, stored_state
from pipelines.training.finite_losses import FiniteLosses
from pipelines.training.group import Group
from pipelines.training.optimization import learning_rate
from pipelines.training.origin import worker_facts
from pipelines.training.outlook import flops_per_image
from pipelines.training.pretrained import build_network, with_local_weights
from pipelines.training.profiling import StepProfiler
from pipelines.training.proving.audit import note
from pipelines.training.saving import Saver, Stores
from pipelines.training.step import TrainingStep
from pipelines.training.system import SystemFigures
from pipelines.training.timing import exchange_figures, utilisation

LOG_EVERY = 10
"""Steps between two events."""


class Worker:
    """One replica of the network with its share of the data."""

    def __init__(self, assignment: Assignment, group: Group, link: Link) -> None:
        config = self.config = assignment.config
        self.assignment, self.group, self.link = assignment, group, link
        self.folder = RunFolder(assignment.run_uri)
        self.manifest = Manifest.load(assignment.prepared_uri)
        self.train_data = ShardReader(assignment.prepared_uri, "train", verify=config.feed.verify)
        self.val_data = ShardReader(assignment.prepared_uri, "val")
        self.plan = sample_plan(config, self.train_data)
        self.categories = self.manifest.categories
        torch.manual_seed(config.train.seed)
        local = with_local_weights(config.model)
        model, self.anew = build_network(local, self.categories)
        self.model: AUNet = model.to(memory_format=torch.channels_last)
        if config.train.compile:
            torch.compiler.reset()  # an earlier run of this process has used up its recompilations
            self.model.compile()
        replica = group.replicate(self.model)
        self.update = TrainingStep(
            config, self.model, replica, group.device, group.rank, group.world_size, self.plan.num_steps
        )
        self.watch, self.watched = self.update.watch, 0
        """Times the phases of steps, since that step."""
        self.flops = (
            flops_per_image(config, self.categories) if group.rank == 0 and group.device.type == "cuda" else 0.0
        )
        self.profiler = StepProfiler(config.train.profile if group.rank == 0 else None, group.device)
        self.system = SystemFigures(group.device)
        self.finite = FiniteLosses(self.folder.not_finite_uri(group.rank), group.rank, group.device)
        self.facts = worker_facts(local, group.device) if group.rank == 0 else {}
        self.resumed = Progress()
        self.step = 0
        self.best = assignment.best_pq, assignment.best_steps
        self.is_due = False
        """Whether a checkpoint is due."""
        self.due_at = time.monotonic() + 60 * config.train.checkpoint_minutes
        self.saver = Saver(config, self._stores(), link.post)

    def run(self) -> None:
        """All steps that are left, or those until the driver wants it to stop; a checkpoint holds the last."""
        try:
            self._run()
        finally:  # Ray may use this process again
            self.profiler.finish()
            self.saver.wait()

    def _run(self) -> None:
        self.resume()
        train = self.config.train
        decoder = StepDecoder(
            self.train_data,
            self.plan,
            self.categories,
            self.config.augment,
            self.config.model.background.thing_labels,
            self.group.rank,
            self.group.world_size,
            train.micro_batches,
        )
        batches = Timed(training_batches(decoder, self.step, self.config.feed))
        started, first = time.monotonic(), self.step
        is_stopped = False
        while self.step < self.plan.num_steps and not is_stopped:
            vote = self.group.begin_vote(self.link.orders.stop)
            self.keep_trace(self.profiler.before(self.step))
            self.link.progress(self.step, "input")
            with self.watch.phase("input"):
                micro_batches = [next(batches) for _ in range(decoder.accumulate)]
            losses = self.train_step(micro_batches)
            if self.step % LOG_EVERY == 0 or self.step == self.plan.num_steps:
                seconds = time.monotonic() - started
                self.log(losses, (self.step - first) / seconds, batches.seconds / seconds)
            is_measured = self.plan.ends_period(self.step, train.evaluate_every)
            if is_measured and train.validate == "inline":
                with self.watch.phase("evaluation"):
                    self.evaluate()
            is_stopped = vote.result() or (is_measured and self.must_stop())
            with self.watch.phase("checkpoint"):
                self.save_if_due(needed=is_stopped or is_measured)
        self.keep_trace(self.profiler.finish())
        if self.group.rank == 0:
            self.saver.finish(self.progress, state_of(self.update.state()), self.is_hurried)

    def train_step(self, micro_batches: Sequence[PackedBatch]) -> Losses:
        """One optimiser step on this rank's micro-batches; the sum of their losses."""
        self.link.progress(self.step, "step")
        images = [target.image_id for batch in micro_batches for target in batch.targets]
        if self.assignment.audit_uri:
            note(self.assignment.audit_uri, self.assignment.attempt, self.step, self.group.rank, images)
        losses = self.update(self.step, micro_batches)
        self.step += 1
        self.finite.see(self.step, losses, self.update.total(losses), images)
        return losses

    def log(self, losses: Losses, steps_per_s: float, input_wait: float) -> None:
        """Post a step's figures; stop where a loss was not finite, or where no scale saves the gradients of fp16.

        Args:
            losses: the sum of this rank's.
            input_wait: share of the time so far that this rank waited for batches.
        """
        self.finite.check()
        self.update.scaler.check()
        mean = Losses(*(self.group.add_up(torch.stack(losses)) / self.config.train.micro_batches))
        images_per_s = steps_per_s * self.plan.batch_size
        event = {
            "kind": "step",
            "loss": float(self.update.total(mean)),
            **{name: float(value) for name, value in mean._asdict().items()},
            "lr": learning_rate(self.config.train, self.step - 1, self.plan.num_steps),
            "images_per_s": images_per_s,
            "input_wait": input_wait,
            "eta_s": (self.plan.num_steps - self.step) / steps_per_s,
            "unsaved_s": time.monotonic() - self.saver.saved_at,
            "memory_gb": self.peak_memory() / 1e9,
            **self.update.figures(),
            **self.watch.figures(self.step - self.watched),
            **exchange_figures(self.update.replica),
            **utilisation(self.flops * images_per_s / self.group.world_size, self.group.device),
            **self.system(),
        }
        self.watched = self.step
        self.post(event)

    def keep_trace(self, trace: bytes | None) -> None:
        """Put a trace of the profiler into the run's folder, where there is one."""
        if trace is not None and self.config.train.profile is not None:
            storage.write_bytes(self.folder.trace_uri(self.config.train.profile[0]), trace)

    def peak_memory(self) -> int:
        """The most bytes this process has held so far, of the GPU where it computes on one."""
        if self.group.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.group.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def post(self, event: Event) -> None:
        """Add figures to the run's history and show them; only rank 0 does."""
        if self.group.rank:
            return
        event = {"at": time.time(), **event, "step": self.step}
        event |= {"steps": self.plan.num_steps, "epoch": self.plan.epoch_of(self.step)}
        self.saver.events.append(event)
        self.link.post(event)

    def predictor(self) -> Predictor:
        """The network as it would be released now: averaged weights where there are any."""
        average = self.update.average
        model: Any = copy.deepcopy(average.module if average is not None else self.model)
        return Predictor(
            model,
            self.config.model,
            self.categories,
            self.config.augment,
            self.config.fusion,
            device=self.group.device,
            precision=self.update.precision,
        )

    def evaluate(self) -> None:
        """Measure the fixed choice of validation images, each rank its share, all of them rank 0's network."""
        chosen = fixed_choice(len(self.val_data), self.config.train.val_images)
        own = chosen[self.group.rank :: self.group.world_size]
        alive = lambda *_: self.link.progress(self.step, "evaluation")  # noqa: E731
        total, predictor = Measurement(self.categories), self.predictor()
        self.group.share(predictor.model.buffers())
        for measured in self.group.gather(measure(predictor, self.val_data, own, alive)):
            total.merge(measured)
        metrics = total.metrics()
        self.best = max(self.best, (metrics["PQ"], (self.step,)), key=lambda best: best[0])
        self.post({"kind": "evaluation", **metrics})

    def must_stop(self) -> bool:
        """The answer to the evaluation that was just posted, the same on every rank."""
        if not self.assignment.is_answered or self.step == self.plan.num_steps:
            return False
        return self.group.broadcast(self.link.answer(self.step) if self.group.rank == 0 else False)

    def save_if_due(self, *, needed: bool) -> None:
        """Begin a checkpoint on rank 0 where one is due and the one before is stored, or where it is needed anyway."""
        self.is_due |= self.plan.ends_period(self.step, self.config.train.checkpoint_every)
        self.is_due |= bool(self.config.train.checkpoint_minutes) and time.monotonic() >= self.due_at
        needed |= self.step == self.plan.num_steps or self.plan.ends_period(self.step, self.config.train.keep_every)
        if self.group.rank or not (needed or (self.is_due and not self.saver.is_busy)):
            return
        self.link.progress(self.step, "checkpoint")
        self.finite.check(self.model.parameters())
        self.is_due, self.due_at = False, time.monotonic() + 60 * self.config.train.checkpoint_minutes
        self.saver.save(self.progress, state_of(self.update.state()))

    @property
    def progress(self) -> Progress:
        """How far the weights have come."""
        return self.resumed.advanced(self.assignment.attempt, self.step)

    def is_hurried(self) -> bool:
        """Whether the driver wants an end; it learns that this rank is alive."""
        self.link.progress(self.step, "store the last checkpoint")
        return self.link.orders.stop

    def resume(self) -> None:
        """Continue from the newest checkpoint that is whole, if there is one."""
        chosen = self._choose() if self.group.rank == 0 else None
        name = self.group.broadcast(chosen[0].name if chosen else "")
        if name and chosen is None:
            checkpoint = self.folder.checkpoints.named(name)
            chosen = (checkpoint, *stored_state(checkpoint))
        if chosen:
            checkpoint, self.resumed, state = chosen
            load_state(state, self.update.state(), checkpoint.uri)
        self.step = self.resumed.step
        if self.group.rank == 0:
            self.link.post({"kind": "resume", "step": self.step, **self.facts})
            for line in self.anew if self.step == 0 else ():
                self.link.post({"kind": "warning", "step": 0, "text": line})

    def _choose(self) -> tuple[Checkpoint, Progress, dict[str, Any]] | None:
        """The newest checkpoint that is whole, and what it holds; None: there is none. The others no longer count."""
        for checkpoint in reversed(self.folder.checkpoints.complete()):
            try:
                return (checkpoint, *stored_state(checkpoint))
            except DamagedCheckpoint as error:
                checkpoint.mark_damaged(str(error))
                text = f"checkpoint of step {checkpoint.step} is damaged ({error}); using the one before"
                self.link.post({"kind": "warning", "step": checkpoint.step, "text": text})
        return None

    def _is_needed(self, step: int) -> bool:
        """Whether the checkpoint of a step is kept: for good, for its PQ, or because it is still to be measured."""
        train, orders = self.config.train, self.link.orders
        is_unmeasured = train.validate == "beside" and step > orders.measured
        return (
            self.plan.ends_period(step, train.keep_every)
            or step in self.best[1]
            or step in orders.keep
            or (is_unmeasured and self.plan.ends_period(step, train.evaluate_every))
        )

    def _stores(self) -> Stores:
        fence = self.assignment.fence
        return Stores(
            checkpoints=self.folder.checkpoints,
            history=self.folder.history,
            may_commit=fence.check if fence else lambda: None,
            is_needed=self._is_needed,
        )
