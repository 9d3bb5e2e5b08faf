"""A study of λ1–λ4 as one page: the best weights, confirmed with several seeds, PQ over each λ, and every trial."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pipelines.pages.line_chart import ticks
from pipelines.pages.page import page, section

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 14, 34
LAMBDAS = {"rpn": "λ1 · RPN", "box": "λ2 · boxes", "mask": "λ3 · masks", "semantic": "λ4 · semantic"}


def render_study(document: Mapping[str, Any]) -> str:
    """The page as HTML text.

    Args:
        document: what `study.json` holds.
    """
    best, trials = document["best"], document["trials"]
    count = {state: sum(trial["state"] == state for trial in trials) for state in ("finished", "stopped", "failed")}
    facts = {
        "study": document["study"],
        "trials": " · ".join(f"{number} {state}" for state, number in count.items() if number),
        "validation slice": f"{document['val_slice']} ({document['val_images']} images)",
        "data": document["data_fingerprint"],
        "MLflow run": document["mlflow_run_id"],
    }
    sections = [
        f"<section class=cards>{_cards(best, document['confirmed'])}</section>",
        section("λ → PQ", "".join(_panel(name, trials, best["number"]) for name in LAMBDAS) + _legend(), "charts"),
        section("Trials", _table(trials, best["number"])),
        section("Overrides", f"<pre>{escape(json.dumps(document['overrides'], indent=1))}</pre>"),
    ]
    return page(f"{document['config']['name']} · loss weights", facts, sections, document["config"], style=_STYLE)


def _cards(best: Mapping[str, Any], confirmed: Mapping[str, Any]) -> str:
    weights = " · ".join(f"{value:.3g}" for value in best["weights"].values())
    cards = [_card("best trial", f"PQ {best['PQ']:.1f}", f"λ1–λ4 = {weights}, {best['epoch']} epochs")]
    for name, setting in confirmed.items():
        weights = " · ".join(f"{value:.3g}" for value in setting["weights"].values())
        figures = f"{setting['PQ']:.1f} ± {setting['sd']:.1f}"
        cards.append(_card(f"{name}, {len(setting['seeds'])} seeds", figures, f"λ1–λ4 = {weights}"))
    return "".join(cards)


def _card(heading: str, figure: str, text: str) -> str:
    return f"<article><h3>{escape(heading)}</h3><strong>{escape(figure)}</strong><p>{escape(text)}</p></article>"


def _panel(name: str, trials: Sequence[Mapping[str, Any]], best: int) -> str:
    """One weight on a logarithmic axis against the last PQ of every trial."""
    lambdas = [trial["weights"][name] for trial in trials]
    low, high = math.log10(min(lambdas)) - 0.1, math.log10(max(lambdas)) + 0.1
    levels = ticks(0.0, max(max(trial["PQ"] for trial in trials), 1.0))

    def across(value: float) -> float:
        return LEFT + (math.log10(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def down(pq: float) -> float:
        return HEIGHT - BOTTOM - pq / max(levels[-1], 1e-9) * (HEIGHT - BOTTOM - TOP)

    marks = []
    for level in levels:
        marks.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down(level):.1f}" y2="{down(level):.1f}"/>'
        )
        marks.append(f'<text x="{LEFT - 6}" y="{down(level):.1f}" dy="4" text-anchor="end">{level:g}</text>')
    for value in _round_values(low, high):
        marks.append(f'<text x="{across(value):.1f}" y="{HEIGHT - 16}" text-anchor="middle">{value:g}</text>')
    marks.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">{LAMBDAS[name]}, logarithmic</text>')
    for trial in sorted(trials, key=lambda trial: trial["number"] == best):
        x, y = across(trial["weights"][name]), down(min(trial["PQ"], levels[-1]))
        kind = f"{trial['state']}{' best' if trial['number'] == best else ''}"
        hint = f"trial {trial['number']}: {trial['weights'][name]:.3g} → PQ {trial['PQ']:.1f}"
        hint += f" after {trial['epoch']} epochs" + (f" ({trial['origin']})" if trial["origin"] else "")
        shape = (
            f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" class="{kind}"><title>'
            if trial["origin"]
            else f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" class="{kind}"><title>'
        )
        marks.append(f"{shape}{escape(hint)}</title></{shape[1:].split()[0]}>")
    title = f"PQ over {LAMBDAS[name]}"
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{"".join(marks)}</svg></figure>'
    )


def _round_values(low: float, high: float) -> list[float]:
    """Between 10^low and 10^high: powers of ten, and some of their multiples where there is room."""
    steps = (1, 2, 5) if high - low < 2 else (1, 3) if high - low < 3 else (1,)
    values = [step * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for step in steps]
    return [value for value in values if low <= math.log10(value) <= high]


def _table(trials: Sequence[Mapping[str, Any]], best: int) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("", "λ1", "λ2", "λ3", "λ4", "PQ", "epochs", "", "rungs", ""))
    rows = []
    for trial in sorted(trials, key=lambda trial: (-trial["epoch"], -trial["PQ"])):
        weights = "".join(f"<td>{value:.3g}</td>" for value in trial["weights"].values())
        rungs = " · ".join(f"{epoch}: {pq:.1f}" for epoch, pq in trial["results"].items())
        rows.append(
            f"<tr{' class=best' if trial['number'] == best else ''}><th>{trial['number']}</th>{weights}"
            f"<td><b>{trial['PQ']:.1f}</b></td><td>{trial['epoch']}</td><td>{trial['state']}</td><td>{rungs}</td>"
            f"<td>{escape(trial['error'] or trial['origin'])}</td></tr>"
        )
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="wide"><table class="trials">{body}</table></div>'


def _legend() -> str:
    dot, square = '<circle cx="6" cy="6" r="5" class="', '<rect x="1" y="1" width="10" height="10" class="'
    meanings = {
        f'{dot}finished"/>': "trained to the end",
        f'{dot}stopped"/>': "stopped at a rung; its last PQ",
        f'{square}finished"/>': "tried first, not searched for",
        f'{dot}finished best"/>': "best",
    }
    entries = (f'<li><svg viewBox="0 0 12 12">{mark}</svg>{meaning}</li>' for mark, meaning in meanings.items())
    return f'<ul class="legend">{"".join(entries)}</ul>'


_STYLE = """
circle, rect { stroke: var(--series-0); stroke-width: 1.6; fill: var(--series-0); }
.stopped { fill: var(--card); stroke: var(--soft); } .failed { fill: var(--card); stroke: var(--series-5); }
svg .best { fill: var(--series-1); stroke: var(--series-1); }
.legend { grid-column: 1 / -1; display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 0; padding: 0; list-style: none;
  color: var(--soft); font-size: 13px; } .legend svg { width: 12px; height: 12px; margin-right: 6px;
  vertical-align: -1px; }
.wide { overflow-x: auto; } .trials tbody th, .trials td:last-child { text-align: left; }
.trials td:nth-child(2), .trials thead th:nth-child(3) { text-align: right; }
.trials .best { font-weight: 600; } .trials .best td, .trials .best th { color: var(--series-1); font-weight: 600; }
article strong { font-size: 26px; }
"""
