"""Differences between rows of runs that share their seeds: means with 95 % intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from scipy.stats import t as student

REFERENCES = ("e2e", "gain")
"""Rows from which the others are taken: no attention, and what its scale does alone."""
Line = dict[str, Any]
"""A run: `row`, `seed` and figures by their names."""


def difference(values: list[float]) -> dict[str, float]:
    """Of paired differences: their number `n` and `mean`; of two or more also the standard deviation `sd` and `half`.

    `half` is the half width of the mean's 95 % interval (Student's t).
    """
    n, mean = len(values), statistics.mean(values)
    if n < 2:
        return {"n": n, "mean": mean}
    sd = statistics.stdev(values)
    return {"n": n, "mean": mean, "sd": sd, "half": float(student.ppf(0.975, n - 1)) * sd / math.sqrt(n)}


def differences(lines: Iterable[Line], row: str, other: str, metric: str) -> list[float]:
    """`row` minus `other`, of every seed that both have."""
    runs = {(line["row"], line["seed"]): line[metric] for line in lines}
    return [runs[row, s] - runs[other, s] for r, s in sorted(runs) if r == row and (other, s) in runs]


def interval(values: list[float]) -> str:
    """Mean and the half width of its 95 % interval."""
    if len(values) < 2:
        return "–"
    one = difference(values)
    return f"{one['mean']:+.2f} ± {one['half']:.2f}"


def summary(
    lines: Sequence[Line],
    order: Iterable[str],
    shown: Sequence[str] = ("PQ_st", "mIoU", "cross_entropy"),
    compared: Sequence[str] = ("PQ_st", "mIoU"),
    references: Sequence[str] = REFERENCES,
) -> str:
    """Markdown: the mean of every row, and its paired differences from the references.

    Args:
        shown: figures whose means are printed.
        compared: figures whose differences are printed.
    """
    rows = [row for row in order if any(line["row"] == row for line in lines)]
    pairs = [(other, metric) for other in references for metric in compared]
    heads = ["row", "runs", *(name.replace("_e", "-e") for name in shown), *(f"{m} − {other}" for other, m in pairs)]
    table = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        own = [line for line in lines if line["row"] == row]
        means = [f"{statistics.mean(line[m] for line in own):.{4 if 'entropy' in m else 2}f}" for m in shown]
        cells = ["" if row == other else interval(differences(lines, row, other, m)) for other, m in pairs]
        table.append(f"| {' | '.join([row, str(len(own)), *means, *cells])} |")
    return "\n".join(table)
