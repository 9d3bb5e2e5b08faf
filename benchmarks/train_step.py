"""A training step and inference against torchvision's Mask R-CNN, in one run: ``python benchmarks/train_step.py``.

Three networks with a ResNet-50-FPN, frozen batch norm and three trainable stages, 80 things: torchvision's
``maskrcnn_resnet50_fpn``, ``e2e`` (no attention, with the background branch that torchvision lacks) and ``aunet`` (PAM,
MAM, reweight), by the presets of Table 1; and `aunet` a second time with ``train.compile`` (its memory is not compared,
because the compiler needs some itself). Same images, targets, batch, number format and memory format (channels last);
weights are random, with the last layers of RPN and box head set so that all three get the same proposals, sample the
same RoIs and find 100 objects per image; a learning rate of 0 keeps it that way. torchvision's resizing is off.

Training: forward, backward, optimiser (SGD, momentum). Inference: images in, boxes, masks and semantic logits at the
image's size out. The networks take turns, the least time counts. CPU: one thread, its own CPU time, so other jobs
disturb it little; memory is the most that two steps add to the process, each network in one of its own. CUDA: wall
time between synchronisations, and peak allocated memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torchvision
from torch import nn
from torchvision.models import resnet50
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops import FrozenBatchNorm2d

from aunet.categories import Categories, Category
from aunet.config import LossWeights
from aunet.model import build_model, to_predictions
from aunet.structures import Batch
from benchmarks.machine import RESULTS, cpu_name
from pipelines.presets import PRESETS
from tests.tiny import make_target

COCO = Categories(tuple(Category(id=n, name=str(n), is_thing=n <= 80) for n in range(1, 134)))
COMPILED = "aunet compiled"
NETWORKS = ("torchvision", "e2e", "aunet")
BARS = {"e2e / torchvision": 1.20, "aunet / e2e": 1.10}
RATIOS = (*BARS, f"{COMPILED} / aunet")
NUM_THINGS = 12


class Rival:
    """One network with its optimiser, its batch, a training step and inference."""

    def __init__(self, name: str, arguments: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.device, self.precision = arguments.device, arguments.precision
        height, width = arguments.size
        self.size = (height, width)
        self.ours = name != "torchvision"
        self.model = (our_network(name) if self.ours else their_network(self.size)).to(self.device)
        self.model.to(memory_format=torch.channels_last)
        if name == COMPILED:
            self.model.compile()
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=0.0, momentum=0.9, fused=True)
        images = torch.randint(0, 256, (arguments.batch, 3, *self.size), dtype=torch.uint8)
        targets = [make_target(self.size, boxes(self.size), n) for n in range(arguments.batch)]
        self.batch = Batch(images, [self.size] * arguments.batch, targets).to(self.device)
        self.floats = list(self.batch.images / 255)
        self.targets = [{k: t[k] for k in ("boxes", "labels", "masks")} for t in self.batch.targets]

    def train(self) -> None:
        torch.manual_seed(0)
        self.model.train()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
            if self.ours:
                loss = self.model(self.batch).total(LossWeights())
            else:
                loss = sum(self.model(self.floats, self.targets).values(), torch.zeros(()))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    @torch.inference_mode()
    def infer(self) -> int:
        self.model.eval()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
            output = self.model(self.batch if self.ours else self.floats)
        if not self.ours:
            return sum(len(detections["boxes"]) for detections in output)
        sizes = self.batch.image_sizes
        return sum(len(p.detections.boxes) for p in to_predictions(output, self.size, sizes, sizes))


def our_network(row: str) -> nn.Module:
    """A row of Table 1, without its weights."""
    config = PRESETS[f"coco_r50_{row.split()[0]}"]().model
    model = build_model(replace(config, backbone=replace(config.backbone, weights=None)), COCO)
    return alike(model, model.rpn.head, model.foreground.box_predictor)


def their_network(size: tuple[int, int]) -> nn.Module:
    """torchvision's, as it is built for pretrained weights."""
    backbone = _resnet_fpn_extractor(resnet50(weights=None, norm_layer=FrozenBatchNorm2d), 3)
    model = MaskRCNN(backbone, num_classes=81, min_size=min(size), max_size=max(size), _skip_resize=True)
    return alike(model, model.rpn.head, model.roi_heads.box_predictor)


def alike(model: nn.Module, head: Any, predictor: Any) -> nn.Module:
    """Propose the anchors unchanged, and find every proposal to be the first thing, with a probability near 0.3."""
    for layer in (head.cls_logits, head.bbox_pred, predictor.cls_score, predictor.bbox_pred):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    predictor.cls_score.bias.data = torch.tensor([0.0, 3.5] + [0.0] * 79)
    return model


def boxes(size: tuple[int, int]) -> list[list[int]]:
    """Boxes of a twelfth to a half of the image."""
    g = torch.Generator().manual_seed(1)
    corners = []
    for _ in range(NUM_THINGS):
        height, width = ((1 / 12 + 5 / 12 * torch.rand(2, generator=g)) * torch.tensor(size)).int().tolist()
        top, left = (torch.rand(2, generator=g) * torch.tensor([size[0] - height, size[1] - width])).int().tolist()
        corners.append([left, top, left + width, top + height])
    return corners


def seconds(run: Callable[[], object], device: str) -> float:
    """Time of one call."""
    if device == "cpu":
        start = time.thread_time()
        run()
        return time.thread_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def times_in_turns(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Least seconds per step and per image."""
    rivals = {name: Rival(name, arguments) for name in (*NETWORKS, COMPILED)}
    runs = {
        "training step": {name: rival.train for name, rival in rivals.items()},
        "inference per image": {name: rival.infer for name, rival in rivals.items()},
    }
    for rival in rivals.values():
        rival.train()
        assert rival.infer() == 100 * arguments.batch, "too few detections to compare"
    times: dict[str, dict[str, float]] = {}
    for what, by_name in runs.items():
        least = dict.fromkeys(by_name, float("inf"))
        for _ in range(arguments.repetitions):
            for name, run in by_name.items():
                least[name] = min(least[name], seconds(run, arguments.device))
        images = arguments.batch if what == "inference per image" else 1
        times[what] = {name: value / images for name, value in least.items()}
    return times


def peak_memory(name: str, arguments: argparse.Namespace) -> float:
    """Bytes that two training steps add to the process (CPU) or allocate at most (CUDA); called in a fresh process."""
    rival = Rival(name, arguments)
    before = resident("VmRSS")
    for _ in range(2):
        rival.train()
    if arguments.device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resident("VmHWM") - before


def resident(what: str) -> float:
    """Bytes of this process in memory: `VmRSS` now, `VmHWM` at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def operator_share(arguments: argparse.Namespace) -> float:
    """Share of `aunet`'s training step that RoIUpsample takes, forward and backward."""
    rival = Rival("aunet", arguments)
    rival.train()
    with torch.profiler.profile() as profile:
        rival.train()
    attribute = "self_device_time_total" if arguments.device == "cuda" else "self_cpu_time_total"
    spent = {event.key: getattr(event, attribute) for event in profile.key_averages()}
    return sum(value for key, value in spent.items() if "roi_upsample" in key) / sum(spent.values())


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if cuda else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1088) if cuda else (256, 320))
    parser.add_argument("--batch", type=int, default=2 if cuda else 1, help="images per step")
    parser.add_argument("--precision", default="bf16" if cuda else "fp32", choices=("fp32", "bf16"))
    parser.add_argument("--repetitions", type=int, default=20 if cuda else 5)
    parser.add_argument("--no-write", action="store_true", help="print only")
    parser.add_argument("--memory-of", choices=NETWORKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1 if arguments.device == "cpu" else torch.get_num_threads())
    if arguments.memory_of:
        print(peak_memory(arguments.memory_of, arguments))
        return
    measured = times_in_turns(arguments)
    measured["peak memory"] = {}
    for name in NETWORKS:
        command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", name]
        measured["peak memory"][name] = float(subprocess.run(command, check=True, capture_output=True).stdout)
    record = {
        "hardware": torch.cuda.get_device_name() if arguments.device == "cuda" else cpu_name(),
        "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "size": list(arguments.size),
        "batch": arguments.batch,
        "precision": arguments.precision,
        "seconds per training step": _rounded(measured["training step"]),
        "images per second in training": _rounded(
            {name: arguments.batch / value for name, value in measured["training step"].items()}
        ),
        "seconds per image in inference": _rounded(measured["inference per image"]),
        "peak memory, GB": _rounded({n: v / 1e9 for n, v in measured["peak memory"].items()}),
        "share of RoIUpsample in aunet's training step": round(operator_share(arguments), 4),
        "ratios": {ratio: _ratios(measured, *ratio.split(" / ")) for ratio in RATIOS},
        "bars": BARS,
    }
    print(json.dumps(record, indent=1))
    if not arguments.no_write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"train_step_{arguments.device}.json").write_text(json.dumps(record, indent=1) + "\n")


def _ratios(measured: dict[str, dict[str, float]], over: str, under: str) -> dict[str, float]:
    return {what: round(of[over] / of[under], 3) for what, of in measured.items() if over in of}


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


if __name__ == "__main__":
    main()
