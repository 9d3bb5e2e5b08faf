"""Our training loop against a plain DDP script, and what checkpoints cost: ``python benchmarks/train_loop.py``.

Loop: `Worker` as `train` runs it (votes, progress, finite losses, phases of a step timed, history, random numbers by
micro-batch), against the loop that one would write for torchrun: the same network, feed, batch, DDP, fused optimiser,
clipping, averaged weights and learning rate, the loss printed every tenth step. They take turns in the same processes;
a process is a rank, on one thread. Compared is what a step costs at the median, by the clock and in CPU time; on a
machine with other work the CPU time is the one to trust. Bar: 0.97 of the plain script's images per second.

Checkpoints: the same training with a checkpoint after every fifth step, asynchronous as it is, then waiting for each to
be stored; and without. The stall is the time in which the training thread does nothing else (phase `checkpoint`); the
difference of all the time, by checkpoint, also holds what the writing thread takes from the training on processors that
are busy anyway. Bar: a stall of 2 % of a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from aunet.model import build_model
from aunet.model.precision import autocast_dtype
from benchmarks.machine import RESULTS, cpu_name
from pipelines import presets
from pipelines.data.ingest import sample_plan, training_batches
from pipelines.data.manifest import Manifest
from pipelines.data.shards import ShardReader
from pipelines.data.step_decoder import StepDecoder
from pipelines.runtime.board import LocalLink
from pipelines.settings.run_config import RunConfig, ShapesConfig
from pipelines.training.assignment import Assignment
from pipelines.training.group import Group
from pipelines.training.optimization import ddp_settings, group_rate
from pipelines.training.worker import Worker
from tests.preparing import preprocess_here

BAR, STALL_BAR = 0.97, 0.02
IMAGES, STEPS, EVERY = 4, 30, 5
"""Images of a rank in a step; steps of a turn; steps between checkpoints."""
Marks = list[tuple[float, float]]
"""Clock and CPU time at the beginning of each step."""


def now() -> tuple[float, float]:
    """Seconds by the clock, and of this process's threads."""
    return time.perf_counter(), time.process_time()


class Marking(LocalLink):
    """Notes when each step begins."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: Marks = []

    def progress(self, step: int, phase: str) -> None:
        if phase == "input":
            self.marks.append(now())


class GlooGroup(Group):
    """Ranks that found each other without Ray."""

    def replicate(self, model: nn.Module) -> nn.Module:
        return DistributedDataParallel(model, **ddp_settings(model)) if self.world_size > 1 else model


class Waiting(Worker):
    """Saves its checkpoints while it waits."""

    def save_if_due(self, *, needed: bool) -> None:
        super().save_if_due(needed=needed)
        self.saver.wait()


def config_of(ranks: int, every: int = 0) -> RunConfig:
    """shapes_smoke, cut down to one turn; `every`: steps between checkpoints, 0 for none but the last."""
    start, batch = presets.shapes_smoke(), IMAGES * ranks
    epoch = every or STEPS
    train = replace(
        start.train,
        num_workers=ranks,
        batch_size=batch,
        epochs=STEPS // epoch,
        checkpoint_every=1 if every else 0,
        checkpoint_minutes=0.0,
    )
    return replace(start, train=train, data=replace(start.data, shapes=ShapesConfig(num_train=epoch * batch)))


def ours(kind: type[Worker], config: RunConfig, prepared: str, group: Group, folder: str) -> tuple[Marks, float]:
    """One turn of a worker, and its seconds in the phase `checkpoint` up to the last event of a step."""
    link = Marking()
    kind(Assignment(config=config, prepared_uri=prepared, run_uri=folder, attempt="1"), group, link).run()
    events = [{"step": 0}, *(event for event in link.events if event["kind"] == "step")]
    stalled = sum((b["step"] - a["step"]) * b.get("checkpoint_ms", 0.0) / 1000 for a, b in pairwise(events))
    return link.marks, stalled


def plain(config: RunConfig, prepared: str, group: Group) -> tuple[Marks, float]:
    """One turn of a script without anything of ours around the network and the feed."""
    train, manifest, reader = config.train, Manifest.load(prepared), ShardReader(prepared, "train")
    plan = sample_plan(config, reader)
    labels = config.model.background.thing_labels
    ranks = group.rank, group.world_size
    decoder = StepDecoder(reader, plan, manifest.categories, config.augment, labels, *ranks, train.micro_batches)
    torch.manual_seed(train.seed)
    model: nn.Module = build_model(config.model, manifest.categories).to(memory_format=torch.channels_last)
    replica = DistributedDataParallel(model) if group.world_size > 1 else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=train.lr, weight_decay=train.weight_decay, fused=True)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(train.ema or 0.0), use_buffers=True)
    batches, marks = training_batches(decoder, 0, config.feed), []
    precision = autocast_dtype(train.precision, torch.device("cpu"))
    replica.train()
    for step in range(plan.num_steps):
        marks.append(now())
        batch = next(batches)
        for settings in optimizer.param_groups:
            settings["lr"] = group_rate(settings, train, step, plan.num_steps)
        optimizer.zero_grad()
        with torch.autocast("cpu", precision, enabled=precision is not None):
            loss = replica(batch.to("cpu")).total(config.loss)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), train.clip_norm or 0.0)
        optimizer.step()
        average.update_parameters(model)
        if step % 10 == 0:
            print(step, loss.item(), file=sys.stderr)
    return marks, 0.0


def steps_of(marks: Marks) -> Marks:
    """Clock and CPU time of each step but the first three."""
    return [(later[0] - earlier[0], later[1] - earlier[1]) for earlier, later in pairwise(marks)][3:]


def rank_main(rank: int, ranks: int, turns: int, with_saving: bool, folder: str, results: Any) -> None:
    """All turns of one rank; rank 0 puts the steps of every contestant, and what it stalled, into `results`."""
    torch.set_num_threads(1)
    control = None
    if ranks > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet-{ranks}", rank=rank, world_size=ranks)
        control = dist.new_group(backend="gloo")
    group = GlooGroup(rank, ranks, torch.device("cpu"), control)
    os.environ["AUNET_STORE"] = f"{folder}/store"
    configs = {every: config_of(ranks, every) for every in (0, EVERY)}
    prepared = {every: preprocess_here(config).uri for every, config in configs.items()} if rank == 0 else {}
    prepared = group.broadcast(prepared)

    def ours_with(kind: type[Worker], every: int) -> Callable[[str], tuple[Marks, float]]:
        return lambda run: ours(kind, configs[every], prepared[every], group, run)

    contestants = {"ours": ours_with(Worker, 0), "plain": lambda _: plain(configs[0], prepared[0], group)}
    if with_saving:
        contestants |= {"asynchronous": ours_with(Worker, EVERY), "waiting": ours_with(Waiting, EVERY)}
    steps: dict[str, Marks] = {name: [] for name in contestants}
    stalled: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(turns):
        for name, contest in contestants.items():
            marks, seconds = contest(f"{folder}/store/runs/{name}-{ranks}-{turn}")
            steps[name] += steps_of(marks)
            stalled[name].append(seconds)
    if rank == 0:
        results.put((steps, stalled))


def measured(ranks: int, turns: int, with_saving: bool) -> tuple[dict[str, Marks], dict[str, list[float]]]:
    """The steps of every contestant, and for how many seconds checkpoints stalled it in each turn."""
    context = get_context("spawn")
    results = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=rank_main, args=(rank, ranks, turns, with_saving, folder, results))
            for rank in range(ranks)
        ]
        for process in processes:
            process.start()
        outcome = results.get()
        for process in processes:
            process.join()
    return outcome


def images_per_s(steps: Marks, ranks: int, clock: int) -> float:
    """Of all ranks; `clock` 0: by the clock, 1: per second of CPU time."""
    return round(IMAGES * ranks / median(step[clock] for step in steps), 3)


def row(steps: dict[str, Marks], ranks: int) -> dict[str, Any]:
    """Our loop and the plain one."""
    figures: dict[str, Any] = {}
    for clock, name in enumerate(("by the clock", "in CPU time")):
        rates = {loop: images_per_s(steps[loop], ranks, clock) for loop in ("ours", "plain")}
        figures[name] = {**rates, "ratio": round(rates["ours"] / rates["plain"], 3)}
    return figures


def checkpoints(steps: dict[str, Marks], stalled: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """What a checkpoint costs, asynchronous and not: seconds, and the stall as a share of a minute."""
    saves = STEPS // EVERY - 1  # the last one comes after the last event
    mean = {name: sum(step[0] for step in of) / len(of) for name, of in steps.items()}
    return {
        name: {
            "stall": round(median(stalled[name]) / saves, 4),
            "all": round(EVERY * (mean[name] - mean["ours"]), 4),
            "stall as share of a minute": round(median(stalled[name]) / saves / 60, 5),
        }
        for name in ("asynchronous", "waiting")
    }


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--no-write", action="store_true", help="print only")
    arguments = parser.parse_args()
    alone, stalled = measured(1, arguments.turns, with_saving=True)
    pair, _ = measured(2, arguments.turns, with_saving=False)
    record = {
        "hardware": cpu_name(),
        "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 1),
        "images per second, 1 process": row(alone, 1),
        "images per second, 2 processes": row(pair, 2),
        "seconds of a checkpoint": checkpoints(alone, stalled),
        "bars": {"ratio": BAR, "stall as share of a minute": STALL_BAR},
    }
    print(json.dumps(record, indent=1))
    if not arguments.no_write:
        (RESULTS / "train_loop.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
