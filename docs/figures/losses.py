"""Draw the losses of a run: `python docs/figures/losses.py RUN_FOLDER OUT.png`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt

NAMES = ("rpn", "box", "mask", "semantic")
WINDOW = 8
"""Events averaged into one point."""


def draw(run: Path, out: Path) -> None:
    """Four losses over the steps, each a moving mean."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    steps = [event for event in events if event["kind"] == "step"]
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    for name in NAMES:
        values = [event[name] for event in steps]
        means = [sum(values[max(0, n - WINDOW + 1) : n + 1]) / min(n + 1, WINDOW) for n in range(len(values))]
        axes.plot([event["step"] for event in steps], means, label=name)
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
