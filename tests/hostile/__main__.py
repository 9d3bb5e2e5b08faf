"""`python -m tests.hostile`: hostile input of every kind against the command line, and a table of what happened.

--every N     each N-th case of a kind only
--kind KIND   one kind only
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.hostile.arena import BAD, Arena, Case, Ending
from tests.hostile.data_sets import data_set_cases
from tests.hostile.materials import make_materials
from tests.hostile.models import model_cases, remember_maps
from tests.hostile.settings import setting_cases
from tests.hostile.stores import store_cases
from tests.hostile.words import word_cases

COLUMNS = ("refused", "right", *BAD)


def all_cases(arena: Arena) -> Iterator[Case]:
    """Every hostile input, kind by kind."""
    for make in (setting_cases, word_cases, store_cases, data_set_cases, model_cases):
        yield from make(arena)


def attack(folder: Path, every: int = 1, kind: str = "") -> dict[str, list[Ending]]:
    """Run the cases in a folder; the endings by kind."""
    arena = Arena(folder)
    make_materials(arena)
    remember_maps(arena)
    endings: dict[str, list[Ending]] = {}
    numbers: Counter[str] = Counter()
    for case in all_cases(arena):
        numbers[case.kind] += 1
        if kind in ("", case.kind) and (numbers[case.kind] - 1) % every == 0:
            endings.setdefault(case.kind, []).append(arena.attack(case))
    return endings


def table(endings: dict[str, list[Ending]]) -> str:
    """Counts of every kind and verdict."""
    rows: list[tuple[str, ...]] = [("kind", "tried", *COLUMNS)]
    everything = [ending for group in endings.values() for ending in group]
    for name, group in [*endings.items(), ("all", everything)]:
        counts = Counter(ending.verdict for ending in group)
        rows.append((name, str(len(group)), *(str(counts[column]) for column in COLUMNS)))
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.rjust(w) if n else cell.ljust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    )


def bad(endings: dict[str, list[Ending]]) -> list[Ending]:
    """Those that are wrong."""
    return [ending for group in endings.values() for ending in group if ending.verdict in BAD]


def run() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--kind", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        endings = attack(Path(folder), options.every, options.kind)
    for ending in sorted(bad(endings), key=lambda ending: (ending.verdict, ending.case.kind)):
        print(f"{ending.verdict}: {ending.case.kind}: {ending.case.name!r}: {ending.detail}")
    print(table(endings))
    return 1 if bad(endings) else 0


if __name__ == "__main__":
    sys.exit(run())
