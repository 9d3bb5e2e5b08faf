"""What every training worker runs: steps, checkpoints, reports. The driver's side is in `driver`."""

from __future__ import annotations

import copy
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch

from aunet.losses import Losses
from aunet.model import AUNet, build_model
from aunet.predictor import Predictor
from aunet.structures import PackedBatch
from pipelines.data.ingest import Timed, sample_plan, training_batches
from pipelines.data.manifest import Manifest
from pipelines.data.sample_plan import fixed_choice
from pipelines.data.shards import ShardReader
from pipelines.data.step_decoder import StepDecoder
from pipelines.measuring.measurement import Measurement, measure
from pipelines.runtime.progress import Event
from pipelines.settings.run_config import RunConfig, from_json, to_json
from pipelines.store import storage
from pipelines.store.hashes import upload_hashed
from pipelines.store.run_folder import RunFolder
from pipelines.training.checkpoint import load_checkpoint, save_checkpoint, save_model
from pipelines.training.finite_losses import FiniteLosses
from pipelines.training.optimization import learning_rate
from pipelines.training.pretrained import with_local_weights
from pipelines.training.step import TrainingStep

LOG_EVERY = 10
"""Steps between two events."""


def train_worker(settings: dict[str, Any]) -> None:
    """Train one replica to the end of the plan, from the newest checkpoint of the run where there is one.

    Args:
        settings: `config` (JSON of RunConfig), `prepared_uri`, `run_uri`, `board` (progress.Board actor) and
            `stoppable` (whether somebody answers evaluations there).
    """
    try:
        Worker(from_json(RunConfig, settings["config"]), settings).run()
    except Exception as error:
        rank = ray.train.get_context().get_world_rank()
        settings["board"].post.remote({"kind": "failure", "rank": rank, "error": f"{type(error).__name__}: {error}"})
        raise


class Worker:
    """One replica of the network with its share of the data."""

    def __init__(self, config: RunConfig, settings: dict[str, Any]) -> None:
        context = ray.train.get_context()
        self.config, self.folder, self.board = config, RunFolder(settings["run_uri"]), settings["board"]
        self.stoppable: bool = settings["stoppable"]
        self.rank, self.world_size = context.get_world_rank(), context.get_world_size()
        self.device = ray.train.torch.get_device()
        self.manifest = Manifest.load(settings["prepared_uri"])
        self.train_data = ShardReader(settings["prepared_uri"], "train", verify=config.feed.verify)
        self.val_data = ShardReader(settings["prepared_uri"], "val")
        self.plan = sample_plan(config, self.train_data)
        self.categories = self.manifest.categories
        torch.manual_seed(config.train.seed)
        model = build_model(with_local_weights(config.model), self.categories)
        self.model: AUNet = model.to(memory_format=torch.channels_last)
        if config.train.compile:
            self.model.compile()
        replica = ray.train.torch.prepare_model(self.model)
        self.update = TrainingStep(
            config, self.model, replica, self.device, self.rank, self.world_size, self.plan.num_steps
        )
        self.finite = FiniteLosses(self.folder.not_finite_uri(self.rank), self.rank, self.device)
        self.step = 0
        self.events: list[Event] = []

    def run(self) -> None:
        """All steps that are left."""
        self.resume()
        decoder = StepDecoder(
            self.train_data,
            self.plan,
            self.categories,
            self.config.augment,
            self.config.model.background.thing_labels,
            self.rank,
            self.world_size,
            self.config.train.accumulate,
        )
        batches = Timed(training_batches(decoder, self.step, self.config.feed))
        started, first = time.monotonic(), self.step
        for micro_batches in zip(*[batches] * decoder.accumulate, strict=True):
            losses = self.train_step(micro_batches)
            if self.step % LOG_EVERY == 0 or self.step == self.plan.num_steps:
                seconds = time.monotonic() - started
                self.log(losses, (self.step - first) / seconds, batches.seconds / seconds)
            if self.is_due(self.config.train.evaluate_every):
                self.evaluate()
            if self.is_due(self.config.train.checkpoint_every):
                self.save()
            if self.is_due(self.config.train.evaluate_every) and self.must_stop():
                return
        if self.rank == 0:
            self.publish()

    def train_step(self, micro_batches: Sequence[PackedBatch]) -> Losses:
        """One optimiser step on this rank's micro-batches; the mean of their losses."""
        losses = self.update(self.step, micro_batches)
        self.step += 1
        images = [target.image_id for batch in micro_batches for target in batch.targets]
        self.finite.see(self.step, losses, losses.total(self.config.loss), images)
        return losses

    def is_due(self, epochs: int) -> bool:
        """Whether this step ends a period of that many epochs, or the run; 0: never."""
        if not epochs or self.step == self.plan.num_steps:
            return bool(epochs)
        return self.plan.epoch_of(self.step - 1) // epochs != self.plan.epoch_of(self.step) // epochs

    def log(self, losses: Losses, steps_per_s: float, input_wait: float) -> None:
        """Post a step's figures; stop where a loss was not finite, or where no scale saves the gradients of fp16.

        Args:
            input_wait: share of the time so far that this rank waited for batches.
        """
        self.finite.check()
        self.update.scaler.check()
        values = {name: float(value) for name, value in losses._asdict().items()}
        event = {
            "kind": "step",
            "loss": float(losses.total(self.config.loss)),
            **values,
            "lr": learning_rate(self.config.train, self.step - 1, self.plan.num_steps),
            "images_per_s": steps_per_s * self.plan.batch_size,
            "input_wait": input_wait,
            "eta_s": (self.plan.num_steps - self.step) / steps_per_s,
            "memory_gb": self.peak_memory() / 1e9,
            **self.update.scaler.figures(),
        }
        self.post(event)

    def peak_memory(self) -> int:
        """The most bytes this process has held so far, of the GPU where it computes on one."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def post(self, event: Event) -> None:
        """Add an event to the run's history and show it; only rank 0 does."""
        if self.rank:
            return
        event |= {"step": self.step, "steps": self.plan.num_steps, "epoch": self.plan.epoch_of(self.step)}
        self.events.append(event)
        self.board.post.remote(event)

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
            device=self.device,
            precision=self.update.precision,
        )

    def evaluate(self) -> None:
        """Measure the fixed choice of validation images, each rank its share."""
        chosen = fixed_choice(len(self.val_data), self.config.train.val_images)
        own = measure(self.predictor(), self.val_data, chosen[self.rank :: self.world_size])
        shares: list[Measurement | None] = [own] * self.world_size
        if self.world_size > 1:
            torch.distributed.all_gather_object(shares, own)
        total = Measurement(self.categories)
        for measured in shares:
            assert measured is not None
            total.merge(measured)
        self.post({"kind": "evaluation", **total.metrics()})

    def must_stop(self) -> bool:
        """The answer to the evaluation that was just posted, the same on every rank."""
        if not self.stoppable or self.step == self.plan.num_steps:
            return False
        answer: list[bool | None] = [None]
        while self.rank == 0 and answer[0] is None:
            time.sleep(0.1)
            answer[0] = ray.get(self.board.answer_to.remote(self.step))
        if self.world_size > 1:
            torch.distributed.broadcast_object_list(answer)
        return bool(answer[0])

    def save(self) -> None:
        """Report a checkpoint; every rank calls this at the same steps, rank 0 writes."""
        self.finite.check(self.model.parameters())
        if self.rank:
            ray.train.report({"step": self.step})
            return
        self.folder.write_events(self.events)
        with tempfile.TemporaryDirectory() as folder:
            save_checkpoint(Path(folder), self.step, self.update.state(), self.config)
            ray.train.report(
                {"step": self.step},
                checkpoint=ray.train.Checkpoint.from_directory(folder),
                checkpoint_upload_fn=self.upload,
            )

    def upload(self, checkpoint: ray.train.Checkpoint, name: str) -> ray.train.Checkpoint:
        """Put a checkpoint into the run's folder, completely or not at all; Ray's own upload can miss a file."""
        uri = self.folder.checkpoint_uri(name)
        upload_hashed(Path(checkpoint.path), uri)
        filesystem, path = storage.filesystem(uri)
        return ray.train.Checkpoint(path, filesystem)

    def resume(self) -> None:
        """Continue from the newest checkpoint, if there is one."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return
        with storage.local_folder(self.folder.checkpoint_uri(Path(checkpoint.path).name)) as folder:
            self.step = load_checkpoint(folder, self.update.state())
        if self.rank == 0:
            self.events = [event for event in self.folder.events() if event["step"] <= self.step]

    def publish(self) -> None:
        """Write the model folder of the finished run."""
        predictor = self.predictor()
        with tempfile.TemporaryDirectory() as folder:
            settings = predictor.settings() | {"run": to_json(self.config)}
            save_model(Path(folder), predictor.model.state_dict(), settings)
            storage.delete(self.folder.model_uri)  # what a killed publication has left
            upload_hashed(Path(folder), self.folder.model_uri)
