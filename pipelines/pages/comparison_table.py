"""Two models side by side as tables for people, on stderr."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aunet.evaluation.comparison import Comparison, Difference
from aunet.evaluation.groups import GROUPS
from aunet.names import printable
from pipelines.pages.figures import group_differences

SHOWN_CLASSES = 12
"""Categories, those with the largest differences; the JSON has all."""


def print_comparison(comparison: Comparison, slices: Sequence[tuple[str, str, Comparison]]) -> None:
    """Write the differences of all, things, stuff, the categories that differ most, and of every slice.

    Args:
        slices: what it is cut by, the value, and the comparison there.
    """
    console = Console(stderr=True)
    groups = _table("")
    for (name, _), difference in zip(GROUPS, group_differences(comparison), strict=True):
        groups.add_row(name, *(_cells(difference) if difference else ["–"] * 3))
    console.print(groups)
    classes = _table("class")
    ranked = sorted(comparison.per_class, key=lambda row: -abs(row[1].difference))
    for category, difference in ranked[:SHOWN_CLASSES]:
        classes.add_row(Text(printable(category.name)), *_cells(difference), "*" if difference.is_decided else "")
    console.print(classes)
    if slices:
        table = _table("slice")
        table.add_column("images", justify="right")
        table.add_column("verdict")
        for by, value, own in slices:
            name = Text(printable(f"{by} {value}"))
            table.add_row(name, *_cells(own.PQ), "", str(own.images), own.verdict)
        console.print(table)


def _table(title: str) -> Table:
    table = Table(title)
    for name in ("PQ difference", "from", "to"):
        table.add_column(name, justify="right")
    table.add_column("")
    return table


def _cells(difference: Difference) -> list[str]:
    return [f"{value:+.1f}" for value in (difference.difference, difference.low, difference.high)]
