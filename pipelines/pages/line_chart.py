"""Curves as inline SVG, coloured by the page's classes series-0 … series-5."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 34
NUM_COLORS = 6
MAX_POINTS = 240
"""Longer curves are averaged down to this many points."""


def line_chart(title: str, curves: Mapping[str, Points], x_label: str) -> str:
    """A figure with one line per name over a common axis that starts at 0, and a legend with the last values.

    Points that are not finite are left out; the top of the axis follows the curves without their rarest peaks.

    Args:
        title: above the figure.
        curves: name → (x, y), x never decreasing.
        x_label: what x counts.

    Returns:
        HTML; empty when no curve has two points.
    """
    finite = {
        name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)] for name, points in curves.items()
    }
    finite = {name: _thin(points) for name, points in finite.items() if len(points) > 1}
    if not finite:
        return ""
    xs = [x for points in finite.values() for x, _ in points]
    lowest = min(y for points in finite.values() for _, y in points)
    peak = max(sorted(y for _, y in points)[math.floor(0.99 * (len(points) - 0.5))] for points in finite.values())
    y_ticks = ticks(min(0.0, lowest), peak if peak > 0 else 1.0)
    low, high = y_ticks[0], max(y_ticks[-1], peak)
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1e-9)

    def to_svg(x: float, y: float) -> str:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - (min(y, high) - low) / (high - low) * (HEIGHT - BOTTOM - TOP)
        return f"{across:.1f},{down:.1f}"

    marks = []
    for tick in y_ticks:
        y = to_svg(x_low, tick).split(",")[1]
        marks.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        marks.append(f'<text x="{LEFT - 6}" y="{y}" dy="4" text-anchor="end">{tick:g}</text>')
    for tick in ticks(x_low, x_high):
        if x_low <= tick <= x_high:
            marks.append(
                f'<text x="{to_svg(tick, low).split(",")[0]}" y="{HEIGHT - 16}" text-anchor="middle">{tick:g}</text>'
            )
    marks.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">{escape(x_label)}</text>')
    legend = []
    for n, (name, points) in enumerate(finite.items()):
        color = f"series-{n % NUM_COLORS}"
        line = " ".join(to_svg(x, y) for x, y in points)
        marks.append(f'<polyline class="{color}" points="{line}"><title>{escape(name)}</title></polyline>')
        legend.append(f'<li><i class="{color}"></i>{escape(name)} <b>{points[-1][1]:.3g}</b></li>')
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(marks)}</svg>'
        f"<ul>{''.join(legend)}</ul></figure>"
    )


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of equal runs of points, the last point of each run giving x."""
    size = math.ceil(len(points) / MAX_POINTS)
    runs = [points[n : n + size] for n in range(0, len(points), size)]
    return [(run[-1][0], sum(y for _, y in run) / len(run)) for run in runs]


def ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers that begin at or below `low` and reach `high` or nearly."""
    span = max(high - low, 1e-12)
    unit = 10.0 ** math.floor(math.log10(span / 4))
    step = next(unit * m for m in (1, 2, 5, 10) if span / (unit * m) <= 6)
    first = math.floor(low / step + 1e-9)
    return [round(n * step, 12) for n in range(first, math.ceil(high / step - 0.25) + 1)]
