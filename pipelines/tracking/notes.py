"""Texts for people that MLflow shows as Markdown: the note of a run and the description of a model's version."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aunet.evaluation.groups import GROUPS, measured

NOTE = "mlflow.note.content"
"""Tag of a run that MLflow shows as its description."""
MAX_DESCRIPTION = 4500
"""Characters that every database behind MLflow holds: a version's description has at most 5000."""
LOADING = """\
```python
from aunet import Predictor
from pipelines.measuring.models import load_predictor
from pipelines.tracking.registry import resolve_model

predictor = load_predictor(resolve_model("{uri}"))  # safetensors, every hash checked; nothing is unpickled
result = predictor(["street.jpg"])[0]
result.panoptic.ids, result.panoptic.segments
```"""
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~-])")


def run_note(facts: Mapping[str, str]) -> str:
    """The note of a training run.

    Args:
        facts: label → text, such as the URI of the run's folder.
    """
    return "\n".join(["AUNet, trained by AUNet-on-Ray.", "", *_table(("", ""), facts.items())])


def version_description(
    *, uri: str, metrics: Mapping[str, float], per_class: Sequence[Mapping[str, Any]], facts: Mapping[str, str]
) -> str:
    """The description of a model's version: its figures, class by class as far as there is room, and how to load it.

    Args:
        uri: `models:/name/version`.
        metrics: in per cent; a dash stands for those of a group of which no class occurs.
        per_class: rows with `name isthing PQ SQ RQ`, the most frequent ones shown first.
        facts: label → text.
    """
    known = measured(metrics, per_class)
    groups = [
        (
            label,
            *(f"{known[key + suffix]:.1f}" if key + suffix in known else "–" for key in ("PQ", "SQ", "RQ")),
        )
        for label, suffix in GROUPS
    ]
    others = " · ".join(f"{name} {known[name]:.1f}" for name in ("AP", "AP_box", "mIoU") if name in known)
    head = [*_table(("%", "PQ", "SQ", "RQ"), groups), "", others, "", *_table(("", ""), facts.items()), ""]
    tail = ["", "Loading it:", "", LOADING.format(uri=uri)]
    shown = sorted((row for row in per_class if _count(row)), key=_count, reverse=True)
    while True:
        rows = [(str(row["name"]), *(f"{row[key]:.1f}" for key in ("PQ", "SQ", "RQ"))) for row in shown]
        text = "\n".join([*head, *(_table(("class", "PQ", "SQ", "RQ"), rows) if rows else []), *tail])
        if len(text) <= MAX_DESCRIPTION or not shown:
            return text[:MAX_DESCRIPTION]
        shown.pop()


def class_figures(per_class: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """`PQ/<class>` of every class that occurs; a name that MLflow does not accept is changed and has the class's id."""
    return {f"PQ/{_metric_name(row)}": row["PQ"] for row in per_class if _count(row)}


def _count(row: Mapping[str, Any]) -> int:
    return row["tp"] + row["fn"] + row["fp"]


def _metric_name(row: Mapping[str, Any]) -> str:
    name = str(row["name"])
    accepted = re.sub(r"[^A-Za-z0-9_. -]", "_", name)[:200]
    return accepted if accepted == name else f"{accepted} {row['category_id']}"


def _table(names: Sequence[str], rows: Any) -> list[str]:
    lines = [names, ["---"] * len(names), *([_plain(str(cell)) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
