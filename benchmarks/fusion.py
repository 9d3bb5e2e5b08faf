"""Fusion against the published per-instance loop, in one run: ``python benchmarks/fusion.py``.

Setting: 100 instances of 16 to 512 pixels on a side and 19 semantic classes at 1024 x 2048, one thread. The rival is
detectron2's merging, rewritten in its simplest form (tests/published_fusion.py); the two maps are checked to be equal.
Two ratios: of the merging alone, from a map of labels, and of everything from the logits, where detectron2 uses
``argmax(0)``. The time is the thread's own CPU time, the least of the repetitions, so other jobs disturb it little.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor

from aunet.categories import Categories, Category
from aunet.config import FusionConfig
from aunet.fusion import best_labels, fuse_panoptic
from aunet.structures import Detections
from benchmarks.machine import RESULTS, cpu_name
from tests.published_fusion import published_fusion

HEIGHT, WIDTH, NUM_INSTANCES = 1024, 2048, 100
CATEGORIES = Categories(tuple(Category(id=n, name=str(n), is_thing=n <= 8) for n in range(1, 20)))
CONFIG = FusionConfig(stuff_area=2048)


def scene() -> tuple[Detections, Tensor]:
    """Random ellipses, all above the score threshold, over smooth semantic logits."""
    g = torch.Generator().manual_seed(0)
    masks = torch.zeros(NUM_INSTANCES, HEIGHT, WIDTH, dtype=torch.bool)
    for mask in masks:
        height, width = (2 ** (4 + 5 * torch.rand(2, generator=g))).int().tolist()
        top, left = (torch.rand(2, generator=g) * torch.tensor([HEIGHT - height, WIDTH - width])).int().tolist()
        y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
        mask[top : top + height, left : left + width] = y * y + x * x < 1
    labels = torch.randint(1, 9, (NUM_INSTANCES,), generator=g)
    scores = 0.5 + 0.5 * torch.rand(NUM_INSTANCES, generator=g)
    coarse = torch.randn(1, 19, HEIGHT // 32, WIDTH // 32, generator=g)
    logits = torch.nn.functional.interpolate(coarse, size=(HEIGHT, WIDTH), mode="bilinear", align_corners=False)[0]
    return Detections(torch.zeros(NUM_INSTANCES, 4), scores, labels, masks), logits.contiguous()


def seconds(runs: dict[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Least CPU time of one call each, taken in turns."""
    times = dict.fromkeys(runs, float("inf"))
    for _ in range(repetitions):
        for name, run in runs.items():
            start = time.thread_time()
            run()
            times[name] = min(times[name], time.thread_time() - start)
    return times


def main() -> None:
    """Measure, compare, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-write", action="store_true", help="print only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    detections, logits = scene()
    label_map = logits.argmax(0)
    ours = fuse_panoptic(detections, logits, CATEGORIES, CONFIG, "each")
    rival = published_fusion(detections, label_map, CATEGORIES, CONFIG, "each")
    assert torch.equal(ours.ids, rival.ids) and ours.segments == rival.segments, "the two maps differ"

    times = seconds(
        {
            "ours from logits": lambda: fuse_panoptic(detections, logits, CATEGORIES, CONFIG, "each"),
            "best labels": lambda: best_labels(logits),
            "published loop": lambda: published_fusion(detections, label_map, CATEGORIES, CONFIG, "each"),
            "argmax(0)": lambda: logits.argmax(0),
        },
        repetitions=10,
    )
    ratios = {
        "merging alone": times["published loop"] / (times["ours from logits"] - times["best labels"]),
        "from logits": (times["published loop"] + times["argmax(0)"]) / times["ours from logits"],
    }
    record = {
        "hardware": cpu_name(),
        "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "size": [HEIGHT, WIDTH],
        "instances": NUM_INSTANCES,
        "segments": len(ours.segments),
        "milliseconds, one thread": {name: round(1e3 * value, 1) for name, value in times.items()},
        "times faster": {name: round(value, 2) for name, value in ratios.items()},
    }
    print(json.dumps(record, indent=1))
    if not arguments.no_write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "fusion_cpu.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
