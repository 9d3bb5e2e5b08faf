"""A plan in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def show_plan(name: str, plan: Mapping[str, Any]) -> None:
    """Print a plan for people on stderr.

    Args:
        name: of the preset.
        plan: the fields of `pipelines.plan.Plan`.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
    stages = Table("stage", "", title=f"plan · {name} · {plan['plan_hash']}", title_justify="left")
    stages.add_column("why", overflow="fold")
    for stage in plan["stages"]:
        stages.add_row(stage["stage"], stage["action"], stage["why"])
    console.print(stages)
    for label, value in _known_figures(plan):
        console.print(f"{label:>12}  {value}")
    if plan["scale"]:
        console.print(_scale(plan["scale"]))
    for line in [*plan["notes"], *(f"refused: {reason}" for reason in plan["refused"])]:
        console.print(line, style="bold red" if line.startswith("refused") else None, markup=False)


def _scale(rows: list[dict[str, Any]]) -> Table:
    table = Table(*("GPUs", "images/s", "efficiency", "all-reduce per step", "hours"))
    for row in rows:
        hours = "unknown" if row["hours"] is None else f"{row['hours']:.1f}"
        reduce = f"{1000 * row['all_reduce_s']:.1f} ms"
        table.add_row(str(row["gpus"]), f"{row['images_per_s']:.1f}", f"{row['efficiency']:.1%}", reduce, hours)
    return table


def _known_figures(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    batch = "{images} images = {workers} workers × {at_once} at once × {accumulate} accumulated"
    yield "batch", batch.format(**plan["batch"])
    yield "rate", f"{plan['learning_rate']:g} after the warm-up"
    if plan["steps"]["total"] is not None:
        yield "steps", f"{plan['steps']['left']} of {plan['steps']['total']} are left"
    if plan["hours"] is not None:
        yield "hours", f"{plan['hours']:.2f}"
    if plan["peak_memory_gb"] is not None:
        yield "memory", f"{plan['peak_memory_gb']:.1f} GB per worker"
    named = {"checkpoint": "a checkpoint", "gradients": "the gradients of a step", "read": "all shards in all epochs"}
    if sizes := [f"{text} {plan['bytes'][key] / 1e9:.2f} GB" for key, text in named.items() if plan["bytes"][key]]:
        yield "bytes", " · ".join(sizes)
    if (best := plan["checkpoints"]) is not None:
        yield (
            "checkpoints",
            f"every {best['minutes']:.1f} minutes: goodput {best['goodput']:.1%}, a failure costs "
            f"{best['lost_minutes']:.1f} minutes",
        )
    if plan["cost"] is not None:
        yield "cost", f"{plan['cost']:.2f}"
    if "CPU" in plan["resources"]:
        machine = plan["resources"]
        yield "resources", f"{machine['CPU']} CPUs · {machine['GPU']} GPUs on {machine['where']}"
