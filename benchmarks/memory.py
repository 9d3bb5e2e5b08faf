"""The predicted peak of memory against the measured one: ``python benchmarks/memory.py``.

A preset at a time, in a process of its own on one thread: builds the network, takes three optimiser steps on images of
the preset's largest size with the preset's number of images per pass, and copies the state for a checkpoint in between,
as a worker does. Measured: the most bytes that the process held (VmHWM), less what it held before the network was
built. Predicted: `pipelines.training.outlook`, for one worker. Bar: within 10 %.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from aunet.categories import Categories, Category
from aunet.model import build_model
from aunet.structures import PackedBatch, PackedTarget
from benchmarks.machine import RESULTS, cpu_name
from benchmarks.network_costs import DATA
from benchmarks.train_step import resident
from pipelines.presets import PRESETS
from pipelines.settings.run_config import RunConfig
from pipelines.training.checkpoint import state_of
from pipelines.training.outlook import CPU_PROCESS, Memory, input_size, pass_costs, peak_memory
from pipelines.training.snapshot import Snapshot
from pipelines.training.step import TrainingStep

MEASURED = {"shapes_smoke": 6, "camvid_small": 8, "coco_overfit": 10, "coco_r50": 10}
"""Presets, and the things of each image."""
BAR = 0.10
STEPS = 3


def config_of(name: str) -> RunConfig:
    """The preset on one worker of this machine, with one pass per step."""
    config = PRESETS[name]()
    images = config.train.batch_size // config.train.micro_batches
    backbone = replace(config.model.backbone, weights=None)
    train = replace(config.train, num_workers=1, use_gpu=False, batch_size=images, precision="fp32")
    return replace(config, train=train, model=replace(config.model, backbone=backbone))


def categories_of(name: str) -> Categories:
    """As many categories as the preset's data has."""
    things, stuff, _ = DATA[name.split("_")[0]]
    return Categories(tuple(Category(id=n, name=str(n), is_thing=n <= things) for n in range(1, things + stuff + 1)))


def batch_of(config: RunConfig, things: int) -> PackedBatch:
    """Noise with rectangles on a ground of one stuff."""
    height, width = input_size(config.augment)
    count, rng = config.train.batch_size, np.random.default_rng(0)
    maps = torch.ones(count, height, width, dtype=torch.uint8)
    boxes = np.zeros((count, things, 4), np.float32)
    for image in range(count):
        for thing in range(things):
            h, w = (int(side * rng.uniform(1 / 8, 1 / 2)) for side in (height, width))
            top, left = int(rng.integers(height - h)), int(rng.integers(width - w))
            maps[image, top : top + h, left : left + w] = thing + 2
            boxes[image, thing] = left, top, left + w, top + h
    targets = [
        PackedTarget(
            image_id=image,
            boxes=boxes[image],
            labels=np.ones(things, np.int64),
            numbers=np.arange(2, things + 2),
            semantic=np.array([255, 1, *[0] * things]),
        )
        for image in range(count)
    ]
    images = torch.from_numpy(rng.integers(0, 256, (count, 3, height, width), np.uint8))
    return PackedBatch(images, [(height, width)] * count, maps, targets)


def measured(name: str) -> int:
    """Bytes that training adds to this process at its peak."""
    config, batch = config_of(name), batch_of(config_of(name), MEASURED[name])
    before = resident("VmRSS")
    model = build_model(config.model, categories_of(name)).to(memory_format=torch.channels_last)
    update = TrainingStep(config, model, model, torch.device("cpu"), 0, 1, num_steps=STEPS)
    snapshot = Snapshot()
    for step in range(STEPS):
        update(step, [batch])
        snapshot.take(state_of(update.state()))
    return int(resident("VmHWM") - before)


def predicted(name: str) -> Memory:
    """By the model of `plan`."""
    config = config_of(name)
    return peak_memory(config, pass_costs(config, categories_of(name), MEASURED[name]))


def row(name: str) -> dict[str, Any]:
    """Both figures of a preset, in GB."""
    command = [sys.executable, __file__, "--of", name]
    real = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    memory = predicted(name)
    added = memory.total - CPU_PROCESS
    return {
        "input": [config_of(name).train.batch_size, *input_size(config_of(name).augment)],
        "measured": round(real / 1e9, 3),
        "predicted": round(added / 1e9, 3),
        "error": round(added / real - 1, 3),
        "sum": memory.arithmetic,
    }


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", choices=MEASURED, help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="*", choices=MEASURED, help="these presets; prints only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.of:
        print(measured(arguments.of))
        return
    rows = {name: row(name) for name in arguments.only or MEASURED}
    record = {"hardware": cpu_name(), "date": time.strftime("%Y-%m-%d"), "torch": torch.__version__, "GB": rows}
    record["bar"] = BAR
    print(json.dumps(record, indent=1, ensure_ascii=False))
    if not arguments.only:
        (RESULTS / "memory.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
