"""The head of a report: the verdict against the champion, and the figures that people compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from aunet.evaluation.comparison import Comparison, Difference
from aunet.evaluation.groups import GROUPS, measured
from aunet.evaluation.spans import Span, Spans
from pipelines.pages.figures import NO_SPAN, figure, group_differences

_MARKS = {"better": "▲", "worse": "▼", "equal": "=", "undecided": "?", "first": "★"}
NO_CHAMPION = "no champion to compare with"
WIDTH, ROW, LEFT, RIGHT = 430, 30, 70, 150


def verdict(
    metrics: Mapping[str, float], images: int, intervals: Spans, comparison: Comparison | None, champion: str
) -> str:
    """The banner: better or not, by how much, how sure, on how many images."""
    kind = comparison.verdict if comparison else "first"
    plain = comparison.to_json() if comparison else None
    sentence, detail = sentences(metrics, images, intervals.PQ, plain, champion)
    chart = _differences(comparison) if comparison and kind != "equal" else ""
    return (
        f'<section class="verdict card {kind}" aria-label=verdict>'
        f"<div class=mark aria-hidden=true>{_MARKS[kind]}</div>"
        f"<div><h2 class=sentence>{escape(sentence)}</h2><p>{escape(detail)}</p></div>{chart}</section>"
    )


def sentences(
    metrics: Mapping[str, float], images: int, span: Span | None, comparison: Mapping[str, Any] | None, champion: str
) -> tuple[str, str]:
    """The verdict, and what it rests on.

    Args:
        images: on which the model was measured.
        span: the interval of its PQ, if known.
        comparison: `Comparison.to_json()`; None: there is none.
        champion: what people call the champion; without a comparison, why there is none, such as `NO_CHAMPION`.
    """
    on = f"on {images:,} validation image{'s' * (images != 1)}"
    if comparison is None:
        interval = f" [{span[0]:.1f}, {span[1]:.1f}]" if span else ""
        first = "First model: " if champion == NO_CHAMPION else ""
        return f"{first}PQ {metrics.get('PQ', 0):.1f}{interval}", f"Measured {on}; {champion}."
    kind, pq, name = comparison["verdict"], comparison["PQ"], f" Champion: {champion}." if champion else ""
    if kind == "equal":
        return "Equal to the champion", f"The same counts in every image, {on}.{name}"
    detail = (
        (
            f"95% interval [{pq['low']:+.1f}, {pq['high']:+.1f}]; {comparison['num_won']:,} images won, "
            f"{comparison['num_lost']:,} lost, {on}.{name}"
        )
        .replace("[-", "[−")
        .replace(" -", " −")
    )
    if kind == "undecided":
        more = comparison["more_images"]
        cure = f" About {more:,} more image{'s' * (more != 1)} would decide." if more is not None else ""
        return f"Undecided: {pq['difference']:+.1f} PQ against the champion".replace("-", "−"), f"{detail}{cure}"
    return f"{kind.capitalize()} than the champion by {abs(pq['difference']):.1f} PQ", detail


def _differences(comparison: Comparison) -> str:
    """The three differences with their intervals over a line at 0; a dash for a group of which no class occurs."""
    rows = list(zip(("PQ", "things", "stuff"), group_differences(comparison), strict=True))
    low, high = min(0.0, *(d.low for _, d in rows if d)), max(0.0, *(d.high for _, d in rows if d))

    def across(value: float) -> float:
        return LEFT + (value - low) / max(high - low, 1e-9) * (WIDTH - LEFT - RIGHT)

    marks = [f'<line class=zero x1="{across(0):.1f}" x2="{across(0):.1f}" y1="4" y2="{ROW * len(rows) - 4}"/>']
    for n, (name, d) in enumerate(rows):
        y = ROW * n + ROW / 2
        if d:
            marks.append(
                f'<g class="{_side(d)}"><line x1="{across(d.low):.1f}" x2="{across(d.high):.1f}" y1="{y}" y2="{y}"/>'
                f'<circle cx="{across(d.difference):.1f}" cy="{y}" r="4.5"/></g>'
            )
        marks.append(
            f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor=end>{name}</text>'
            f'<text class=value x="{WIDTH}" y="{y + 4}" text-anchor=end>{escape(signed(d))}</text>'
        )
    title = "; ".join(f"{name} {signed(d)}" for name, d in rows)
    box = f'viewBox="0 0 {WIDTH} {ROW * len(rows)}"'
    return f'<svg class=forest {box} role=img aria-label="{escape(title)}">{"".join(marks)}</svg>'


def _side(d: Difference) -> str:
    return "even" if not d.is_decided else "good" if d.difference > 0 else "bad"


def signed(d: Difference | None) -> str:
    """A difference and its interval, each number with its sign, or a dash."""
    return f"{d.difference:+.1f} [{d.low:+.1f}, {d.high:+.1f}]".replace("-", "−") if d else "–"


def cards(metrics: Mapping[str, float], per_class: Sequence[Mapping[str, Any]], intervals: Spans) -> str:
    """PQ of the three groups with SQ, RQ and intervals, then AP and mIoU; a dash where no class of a group occurs."""
    spans, known = {"": intervals.PQ, "_th": intervals.PQ_th, "_st": intervals.PQ_st}, measured(metrics, per_class)
    content = [
        f"<article><h3>PQ {name}</h3><strong>{figure(known.get('PQ' + suffix))}</strong>"
        f"<p>{_interval(spans[suffix]) if 'PQ' + suffix in known else 'not measured'}</p>"
        f"<p>SQ {figure(known.get('SQ' + suffix))} · RQ {figure(known.get('RQ' + suffix))}</p></article>"
        for name, suffix in GROUPS
    ]
    content += [
        f"<article><h3>{name}</h3><strong>{figure(known.get(name.replace(' ', '_')))}</strong><p>{what}</p></article>"
        for name, what in (("AP", "instance masks"), ("AP box", "instance boxes"), ("mIoU", "category per pixel"))
        if name.replace(" ", "_") in metrics
    ]
    return "".join(content)


def _interval(span: Span | None) -> str:
    return f"95%: {span[0]:.1f} – {span[1]:.1f}" if span else NO_SPAN
