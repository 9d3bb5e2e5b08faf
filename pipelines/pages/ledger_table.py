"""The ledger of a model as a table for people, on stderr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aunet.names import printable

MAX_WHY = 160
"""Characters of a reason that are shown."""


def print_entries(entries: Sequence[Mapping[str, Any]], title: str) -> None:
    """Write one row per entry, oldest first.

    Args:
        entries: the fields of `LedgerEntry` by name.
    """
    table = Table("", "when", "action", "version", "gate", "PQ", "who", "why", title=title, title_justify="left")
    for entry in entries:
        pq, target, why = entry["figures"].get("PQ"), entry["target"], printable(entry["why"])
        table.add_row(
            str(entry["number"]),
            Text(printable(entry["when"])),
            f"{entry['action']} to {target}" if target else entry["action"],
            str(entry["version"]),
            entry["verdict"],
            "" if pq is None else f"{pq:.2f}",
            Text(printable(entry["who"])),
            Text(why if len(why) <= MAX_WHY else f"{why[:MAX_WHY]}…"),
            style="bold" if entry is entries[-1] else None,
        )
    Console(stderr=True).print(table)
