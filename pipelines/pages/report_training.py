"""How a model came to be: losses and the share of each, quality over the steps, and what interrupted the training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from statistics import fmean
from typing import Any

from pipelines.pages.line_chart import MAX_POINTS, line_chart, ticks

Event = Mapping[str, Any]

LOSSES = ("rpn", "box", "mask", "semantic")
"""The terms of Eq. 7, by their names in a step's event and in the configuration's `loss`."""
NAMES = {"rpn": "RPN", "box": "boxes", "mask": "masks", "semantic": "semantic"}
PHASES = ("input", "forward", "backward", "optimizer")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 260, 48, 12, 12, 34
STRIP_WIDTH, STRIP_HEIGHT = 1100, 64
_KINDS = {
    "checkpoint": ("checkpoints", "M0 -7V7"),
    "evaluation": ("evaluations", "M0 -5L5 0L0 5L-5 0Z"),
    "failure": ("failures", "M-5 -5L5 5M5 -5L-5 5"),
    "restart": ("restarts", "M-4 -6L6 0L-4 6Z"),
    "stop": ("stops asked for", "M-5 -5H5V5H-5Z"),
    "warning": ("warnings", "M0 -6L6 5H-6Z"),
}
"""Kinds of events on the strip: what they are called, and their mark."""
MAX_SENTENCES = 12
"""Interruptions that are listed in words."""


def curves(events: Sequence[Event], weights: Mapping[str, Any], qualities: Sequence[str]) -> str:
    """Losses, the share of each weighted loss, PQ and the learning rate over the steps.

    Args:
        weights: λ1 … λ4 by the name of their loss.
        qualities: which of `PQ`, `PQ_th` and `PQ_st` to show.
    """
    values: dict[str, list[tuple[float, float]]] = {}
    for event in events:
        for name in ("loss", *LOSSES, "lr") if event.get("kind", "step") == "step" else qualities:
            if isinstance(value := event.get(name), int | float) and not isinstance(value, bool):
                values.setdefault(name, []).append((float(event.get("step", 0)), float(value)))
    charts = {
        "Losses": ("loss", *LOSSES),
        "Panoptic quality on the validation split": qualities,
        "Learning rate": ("lr",),
    }
    lines = [line_chart(title, {n: values[n] for n in names if n in values}, "step") for title, names in charts.items()]
    return "".join([lines[0], _shares(events, weights), *lines[1:]])


def _shares(events: Sequence[Event], weights: Mapping[str, Any]) -> str:
    """What part of the total loss each weighted term is: four areas that add up to all of it."""
    points = []
    for event in events:
        if event.get("kind", "step") == "step" and all(isinstance(event.get(name), int | float) for name in LOSSES):
            terms = [float(event.get(f"weight_{name}", weights.get(name, 1.0))) * event[name] for name in LOSSES]
            total = sum(terms)
            if math.isfinite(total) and total > 0:
                points.append((float(event.get("step", 0)), [term / total for term in terms]))
    if len(points) < 2:
        return ""
    size = math.ceil(len(points) / MAX_POINTS)
    runs = [points[n : n + size] for n in range(0, len(points), size)]
    means = [(run[-1][0], [fmean(shares) for shares in zip(*(s for _, s in run), strict=True)]) for run in runs]
    if len(means) < 2:
        return ""
    first, last = means[0][0], max(means[-1][0], means[0][0] + 1e-9)

    def to_svg(step: float, share: float) -> str:
        across = LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT)
        return f"{across:.1f},{TOP + (1 - share) * (HEIGHT - TOP - BOTTOM):.1f}"

    marks, legend = [], []
    for n, name in enumerate(LOSSES):
        lower = [to_svg(step, sum(shares[:n])) for step, shares in means]
        upper = [to_svg(step, sum(shares[: n + 1])) for step, shares in reversed(means)]
        label = f"λ{n + 1} = {float(weights.get(name, 1.0)):g} · {NAMES[name]}"
        marks.append(
            f'<polygon class="area series-{n}" points="{" ".join(lower + upper)}"><title>{label}</title></polygon>'
        )
        legend.append(f'<li><i class="series-{n}"></i>{label} <b>{means[-1][1][n]:.0%}</b></li>')
    for share in (0, 0.5, 1):
        y = to_svg(first, share).split(",")[1]
        marks.append(f'<text x="{LEFT - 6}" y="{y}" dy="4" text-anchor="end">{share:.0%}</text>')
    for tick in ticks(first, last):
        if first <= tick <= last:
            x = to_svg(tick, 0).split(",")[0]
            marks.append(f'<text x="{x}" y="{HEIGHT - 16}" text-anchor="middle">{tick:g}</text>')
    marks.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">step</text>')
    title = "Share of each weighted loss"
    return (
        f'<figure class="chart"><figcaption>{title}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{title}">{"".join(marks)}</svg><ul>{"".join(legend)}</ul></figure>'
    )


def resilience(events: Sequence[Event]) -> str:
    """A strip of time with checkpoints, failures and restarts on it, and what the interruptions cost."""
    timed = [event for event in events if isinstance(event.get("at"), int | float)]
    marked = [event for event in timed if event.get("kind") in _KINDS]
    if not marked:
        return ""
    start, end = timed[0]["at"], max(event["at"] for event in timed)
    start = min(start, *(event["at"] for event in timed))
    span = max(end - start, 1e-9)
    marks = [f'<line class=grid x1="0" x2="{STRIP_WIDTH}" y1="28" y2="28"/>']
    for event in sorted(marked, key=lambda event: list(_KINDS).index(event["kind"])):
        x = 8 + (event["at"] - start) / span * (STRIP_WIDTH - 16)
        name, path = _KINDS[event["kind"]]
        hint = f"{_duration(event['at'] - start)}, step {event.get('step', 0)}: {_words(event) or name.rstrip('s')}"
        marks.append(
            f'<path class="{event["kind"]}" d="{path}" transform="translate({x:.1f} 28)">'
            f"<title>{escape(hint)}</title></path>"
        )
    marks.append(
        f'<text x="0" y="58">start</text><text x="{STRIP_WIDTH}" y="58" text-anchor=end>{_duration(span)}</text>'
    )
    counts = {kind: sum(event["kind"] == kind for event in marked) for kind in _KINDS}
    legend = "".join(
        f'<li><svg viewBox="-8 -8 16 16" aria-hidden=true><path class={kind} d="{_KINDS[kind][1]}"/></svg>'
        f"{_KINDS[kind][0]} <b>{number:,}</b></li>"
        for kind, number in counts.items()
        if number
    )
    figures = [f"<li>steps computed again <b>{sum(int(e.get('recomputed', 0)) for e in timed):,}</b></li>"]
    if (share := goodput(timed)) is not None:
        figures.append(f"<li>goodput <b>{share:.0%}</b></li>")
    title = f"{counts['checkpoint']} checkpoints, {counts['failure']} failures, {counts['restart']} restarts"
    interruptions = ("failure", "restart", "stop", "warning")
    sentences = [words for e in timed if e.get("kind") in interruptions and (words := _words(e))]
    items = "".join(f"<li>{escape(words)}</li>" for words in sentences[:MAX_SENTENCES])
    items += f"<li>… and {len(sentences) - MAX_SENTENCES:,} more</li>" if len(sentences) > MAX_SENTENCES else ""
    return (
        f'<figure class="chart strip"><svg viewBox="0 0 {STRIP_WIDTH} {STRIP_HEIGHT}" role=img aria-label="{title}">'
        f"{''.join(marks)}</svg><ul>{legend}{''.join(figures)}</ul>{f'<ol>{items}</ol>' if items else ''}</figure>"
    )


def goodput(events: Sequence[Event]) -> float | None:
    """Share of the time from the first start to the last event that went into steps that count; None: not timed."""
    starts = [event["at"] for event in events if event.get("kind") == "start"]
    steps = [event for event in events if event.get("kind") == "step"]
    timed = [sum(event.get(f"{phase}_ms", 0.0) for phase in PHASES) for event in steps]
    if not starts or not any(timed):
        return None
    seconds = max(event["at"] for event in events) - min(starts)
    return min(1.0, fmean(timed) / 1000 * max(event["step"] for event in steps) / max(seconds, 1e-9))


def _words(event: Event) -> str:
    if event.get("kind") == "failure":
        return f"rank {event.get('rank', '?')} failed at step {event.get('step', 0)}: {event.get('error', '')}"
    return str(event.get("text", ""))


def _duration(seconds: float) -> str:
    hours, minutes = int(seconds // 3600), int(seconds % 3600 // 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds % 60:02.0f} s" if minutes else f"{seconds:.0f} s"
