"""Differences between rows of runs that share their seeds: means with 95 % intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import Any

from scipy.stats import t as student


def interval(differences: list[float]) -> str:
    """Mean and the half width of its 95 % interval (Student's t)."""
    if len(differences) < 2:
        return "–"
    half = float(student.ppf(0.975, len(differences) - 1)) * statistics.stdev(differences) / math.sqrt(len(differences))
    return f"{statistics.mean(differences):+.2f} ± {half:.2f}"


def summary(lines: list[dict[str, Any]], order: Iterable[str]) -> str:
    """Markdown: the mean of every row, and its paired differences from `e2e` and `gain`."""
    runs = {(line["row"], line["seed"]): line for line in lines}
    rows = [row for row in order if any(r == row for r, _ in runs)]
    table = [
        "| row | runs | PQ_st | mIoU | cross-entropy | PQ_st − e2e | mIoU − e2e | PQ_st − gain | mIoU − gain |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        own = {seed: line for (r, seed), line in runs.items() if r == row}
        means = [statistics.mean(line[m] for line in own.values()) for m in ("PQ_st", "mIoU", "cross_entropy")]
        cells = [
            "" if row == other else interval([own[s][m] - runs[other, s][m] for s in own if (other, s) in runs])
            for other in ("e2e", "gain")
            for m in ("PQ_st", "mIoU")
        ]
        numbers = f"{means[0]:.2f} | {means[1]:.2f} | {means[2]:.4f}"
        table.append(f"| {row} | {len(own)} | {numbers} | {' | '.join(cells)} |")
    return "\n".join(table)
