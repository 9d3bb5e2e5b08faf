"""Panoptic quality as tables for people, on stderr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aunet.evaluation.groups import GROUPS, measured, occurs
from aunet.names import printable
from pipelines.pages.figures import figure


def print_quality(
    metrics: Mapping[str, float], per_class: Sequence[Mapping[str, Any]], title: str, console: Console | None = None
) -> None:
    """Write PQ, SQ and RQ of all, things and stuff, and of every category that occurs, in per cent.

    A dash stands for what is not measured, as PQ of things where no thing occurs.

    Args:
        metrics: PQ SQ RQ with the suffixes "", _th and _st; AP, AP_box and mIoU where there are any.
        per_class: rows as `PanopticQualityResult.rows` returns them.
        console: None: stderr.
    """
    console = console or Console(stderr=True)
    groups = Table(title=title, title_justify="left")
    groups.add_column("")
    for name in ("PQ", "SQ", "RQ"):
        groups.add_column(name, justify="right")
    known = measured(metrics, per_class)
    for name, suffix in GROUPS:
        groups.add_row(name, *(figure(known.get(key + suffix)) for key in ("PQ", "SQ", "RQ")))
    classes = Table("class", "")
    for name in ("PQ", "SQ", "RQ", "TP", "FP", "FN"):
        classes.add_column(name, justify="right")
    for row in per_class:
        if occurs(row):
            counts = [row["tp"], row["fp"], row["fn"]]
            figures = [figure(row[key]) for key in ("PQ", "SQ", "RQ")]
            classes.add_row(
                Text(printable(row["name"])), "thing" if row["isthing"] else "stuff", *figures, *map(str, counts)
            )
    console.print(groups)
    if others := [f"{name} {figure(known.get(name))}" for name in ("AP", "AP_box", "mIoU") if name in metrics]:
        console.print(" · ".join(others), highlight=False)
    console.print(classes)


def print_trials(
    trials: Sequence[Mapping[str, Any]], best: int, confirmed: Mapping[str, Mapping[str, Any]], title: str
) -> None:
    """Write every trial of a study, and what was confirmed with several seeds.

    Args:
        trials: `number origin weights results state`, as the study's document holds them.
        best: number of the best one.
        confirmed: `PQ` (mean), `sd` and `seeds` by name.
    """
    console = Console(stderr=True)
    table = Table("", "λ1", "λ2", "λ3", "λ4", "PQ by epoch", "", "", title=title, title_justify="left")
    for trial in trials:
        weights = [f"{value:.3g}" for value in trial["weights"].values()]
        results = " ".join(f"{epoch}:{pq:.1f}" for epoch, pq in trial["results"].items())
        style = "bold" if trial["number"] == best else None
        table.add_row(str(trial["number"]), *weights, results, trial["state"], trial["origin"], style=style)
    console.print(table)
    for name, setting in confirmed.items():
        figures = f"PQ {setting['PQ']:.1f} ± {setting['sd']:.1f} over {len(setting['seeds'])} seeds"
        console.print(f"{name:>6}  {figures}", highlight=False)
