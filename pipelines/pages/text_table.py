"""Panoptic quality as plain text, for `score`: loading rich and laying out its tables takes as long as scoring."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from aunet.names import printable


def quality_text(metrics: Mapping[str, float], per_class: Sequence[Mapping[str, Any]], title: str) -> str:
    """PQ, SQ and RQ of all, things and stuff, and of every category that occurs, in per cent.

    Args:
        metrics: PQ SQ RQ with the suffixes "", _th and _st.
        per_class: rows as `PanopticQualityResult.rows` returns them.
        title: the first line.
    """
    keys = ("PQ", "SQ", "RQ")
    groups = [["", *keys]]
    for name, suffix in (("all", ""), ("things", "_th"), ("stuff", "_st")):
        groups.append([name, *(f"{metrics[key + suffix]:.1f}" for key in keys)])
    classes = [["class", "", *keys, "TP", "FP", "FN"]]
    for row in per_class:
        counts = [row["tp"], row["fp"], row["fn"]]
        if any(counts):
            kind = "thing" if row["isthing"] else "stuff"
            classes.append([printable(row["name"]), kind, *(f"{row[key]:.1f}" for key in keys), *map(str, counts)])
    return "\n".join([printable(title), "", *table(groups, 1), "", *table(classes, 2)])


def table(rows: Sequence[Sequence[str]], num_left: int) -> list[str]:
    """Lines of columns that are as wide as their widest cell, under a header and a rule.

    Args:
        rows: the first is the header.
        num_left: columns that are flush left; the others are numbers and flush right.
    """
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (width - _width(cell))
            cells.append(cell + gap if number < num_left else gap + cell)
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "─" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]]


def _width(text: str) -> int:
    """Cells of a terminal that a text takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
