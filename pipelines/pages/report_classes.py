"""Where a model is weak: classes with intervals, confused classes, near misses, sizes of objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from aunet.categories import Categories
from aunet.evaluation.comparison import Comparison, Difference
from aunet.evaluation.groups import occurs
from aunet.evaluation.outcomes import Fate, Outcomes
from aunet.evaluation.spans import Span
from pipelines.pages.figures import NO_SPAN, figure
from pipelines.pages.page import bar

MAX_ROWS = 12
"""Of confused classes and of near misses."""
NEAR = 0.45
"""An IoU from here to 0.5 nearly is a match."""
SIZES = (
    ("small", "under 32² pixels", 0, 32**2),
    ("medium", "32² to 96²", 32**2, 96**2),
    ("large", "over 96²", 96**2, 0),
)
"""COCO's sizes of objects: areas from, to (0: no limit)."""


def class_table(
    per_class: Sequence[Mapping[str, Any]], intervals: Sequence[Span | None], comparison: Comparison | None
) -> str:
    """One row per category, sorted by kind and PQ, for a script that sorts and searches.

    Args:
        per_class: in the order of the categories.
        intervals: likewise.
    """
    if not per_class:
        return ""
    changes = {c.id: difference for c, difference in comparison.per_class} if comparison else {}
    extra = ["IoU"] if any(row.get("IoU") is not None for row in per_class) else []
    heads = [("class", "text"), ("kind", "text"), ("PQ", "pq"), *([("change", "")] if comparison else [])]
    heads += [(name, "") for name in ("SQ", "RQ", *extra, "TP", "FP", "FN")]
    head = "".join(f'<th scope=col class="{kind}">{name}</th>' for name, kind in heads)
    spans = dict(zip((row["category_id"] for row in per_class), intervals, strict=True)) if intervals else {}
    rows = sorted(per_class, key=lambda row: (-row["isthing"], not occurs(row), -row["PQ"]))
    body = "".join(
        _row(row, spans.get(row["category_id"]), comparison, changes.get(row["category_id"]), extra) for row in rows
    )
    return f'<table id=classes class="data"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _row(
    row: Mapping[str, Any],
    span: Span | None,
    comparison: Comparison | None,
    change: Difference | None,
    extra: Sequence[str],
) -> str:
    kind, present = "thing" if row["isthing"] else "stuff", occurs(row)
    values = {key: row.get(key) if present else None for key in ("PQ", "SQ", "RQ", *extra)}
    cells = [
        f"<th scope=row>{escape(str(row['name']))}</th><td class=text>{kind}</td>",
        f'<td class=pq data-value="{_number(values["PQ"])}"><b>{figure(values["PQ"])}</b>'
        f"{_whiskers(row['PQ'], span, kind) if present else ''}</td>",
        _change(change) if comparison else "",
        *(f'<td data-value="{_number(values[key])}">{figure(values[key])}</td>' for key in ("SQ", "RQ", *extra)),
        *(f'<td data-value="{row[key]}">{int(row[key]):,}</td>' for key in ("tp", "fp", "fn")),
    ]
    return f"<tr{'' if present else ' class=absent'}>{''.join(cells)}</tr>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _whiskers(pq: float, span: Span | None, kind: str) -> str:
    """A bar up to PQ, and the interval, if there is one, as a line over it."""
    line, words = "", f"<title>{NO_SPAN}</title>"
    if span:
        low, high = (min(max(end, 0.0), 100.0) for end in span)
        line = f'<path class=whisker d="M{low:.1f} 2v6M{high:.1f} 2v6M{low:.1f} 5H{high:.1f}"/>'
        words = f"<title>95%: {low:.1f} – {high:.1f}</title>"
    fill = f'<rect class="bar {kind}" y="1" width="{min(max(pq, 0), 100):.1f}" height="8"/>'
    box = 'viewBox="0 0 100 10" preserveAspectRatio=none'
    return f'<svg class=track {box} role=img aria-label="{_spoken(pq, span)}">{words}{fill}{line}</svg>'


def _spoken(pq: float, span: Span | None) -> str:
    return f"PQ {pq:.1f}, " + (f"95% interval {span[0]:.1f} to {span[1]:.1f}" if span else NO_SPAN)


def _change(change: Difference | None) -> str:
    if change is None:
        return '<td data-value="">–</td>'
    side = "" if not change.is_decided else "good" if change.difference > 0 else "bad"
    mark = {"good": "▲ ", "bad": "▼ ", "": ""}[side]
    hint = f"95%: {change.low:+.1f} … {change.high:+.1f}"
    text = f"{change.difference:+.1f}".replace("-", "−")
    return f'<td class="{side}" data-value="{change.difference:.4f}" title="{hint}">{mark}{text}</td>'


def confusion_table(outcomes: Outcomes, categories: Categories) -> str:
    """Pairs of segments that overlap by more than half but have different classes, the most frequent first."""
    rows = ~outcomes.is_predicted & ~outcomes.is_crowd & (outcomes.other_iou > 0.5)
    rows &= (outcomes.other_category >= 0) & (outcomes.other_category != outcomes.category)
    pairs = np.stack([outcomes.category[rows], outcomes.other_category[rows]], axis=1)
    if not len(pairs):
        return ""
    unique, counts = np.unique(pairs, axis=0, return_counts=True)
    totals = np.bincount(outcomes.category[~outcomes.is_predicted & ~outcomes.is_crowd], minlength=len(categories))
    order = np.argsort(-counts, kind="stable")[:MAX_ROWS]
    body = []
    for n in order.tolist():
        true, predicted = (escape(categories.entries[i].name) for i in unique[n].tolist())
        total = int(totals[unique[n][0]])
        body.append(
            f"<tr><th scope=row>{true}</th><td class=text>→ {predicted}</td>"
            f"<td>{counts[n]:,}</td><td>{counts[n] / max(total, 1):.0%} of {total:,}</td></tr>"
        )
    return _small_table(("truth", "predicted as", "segments", "share of the class"), body)


def near_miss_table(outcomes: Outcomes, categories: Categories) -> str:
    """True segments that are just not found, and what PQ would gain at most if they were."""
    rows = (outcomes.fate == Fate.MISSED) & (outcomes.iou >= NEAR) & (outcomes.iou <= 0.5)
    numbers = np.bincount(outcomes.category[rows], minlength=len(categories))
    missed = np.bincount(outcomes.category[outcomes.fate == Fate.MISSED], minlength=len(categories))
    order = [n for n in np.argsort(-numbers, kind="stable")[:MAX_ROWS].tolist() if numbers[n]]
    body = [
        f"<tr><th scope=row>{escape(categories.entries[n].name)}</th><td>{numbers[n]:,}</td>"
        f"<td>{numbers[n] / missed[n]:.0%} of {missed[n]:,}</td></tr>"
        for n in order
    ]
    return _small_table(("class", "near misses", "share of the missed"), body) if body else ""


def size_table(outcomes: Outcomes, categories: Categories) -> str:
    """PQ of small, medium and large things: a true segment counts where its area is, a false one where its own is."""
    thing = np.array([c.is_thing for c in categories.entries])[outcomes.category]
    body = []
    for name, words, low, high in SIZES:
        rows = thing & (outcomes.area >= low) & ((outcomes.area < high) if high else True)
        result = outcomes.select(rows).counts(categories).quality(categories)
        tp, fp, fn = (sum(getattr(c, key) for c in result.per_class) for key in ("tp", "fp", "fn"))
        present = result.things.num_classes > 0
        pq, sq, rq = (
            figure(value if present else None) for value in (result.things.pq, result.things.sq, result.things.rq)
        )
        body.append(
            f"<tr><th scope=row>{name} <small>{words}</small></th><td class=pq><b>{pq}</b>"
            f"{bar(result.things.pq / 100, 'thing') if present else ''}</td>"
            f"<td>{sq}</td><td>{rq}</td><td>{tp:,}</td><td>{fp:,}</td><td>{fn:,}</td></tr>"
        )
    return _small_table(("things", "PQ", "SQ", "RQ", "TP", "FP", "FN"), body)


def _small_table(heads: Sequence[str], body: Sequence[str]) -> str:
    kinds = {"predicted as": "text", "PQ": "pq"}
    head = "".join(f'<th scope=col class="{kinds.get(name, "")}">{name}</th>' for name in heads)
    return f'<table class="data"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
