"""An evaluation as one self-contained page: no script, no request, readable by day and by night."""

from __future__ import annotations

import base64
import io
import json
from html import escape
from typing import Any

from pipelines.pages.line_chart import line_chart

MAX_PICTURE_WIDTH = 1500
"""Wider overlays are made smaller before they go into the page, in pixels."""
_LOSSES = ("loss", "rpn", "box", "mask", "semantic")
"""The total and the parts of Eq. 7, as a step's event names them."""
_GROUPS = (("all", ""), ("things", "_th"), ("stuff", "_st"))


def render_report(
    *,
    title: str,
    facts: dict[str, str],
    metrics: dict[str, float],
    per_class: list[dict[str, Any]],
    events: list[dict[str, Any]],
    overlays: list[tuple[str, bytes]],
    attention: dict[str, dict[str, float | None]],
    attention_pictures: list[tuple[str, bytes]],
    config: dict[str, Any],
) -> str:
    """The page as HTML text. Every text in it is escaped.

    Args:
        title: of the page.
        facts: what the head says of the run: its id, the fingerprint of the data, …
        metrics: `PQ SQ RQ PQ_th … AP AP_box mIoU` in per cent; one that is missing is shown as a dash.
        per_class: a row per category: `name isthing PQ SQ RQ tp fp fn`, `IoU` where known.
        events: the run's history; numbers of the events of one step become curves over the steps.
        overlays: (name, encoded picture).
        attention: per map the mean of M' over `things` and `stuff`, and their `difference`; may be empty.
        attention_pictures: (name, encoded picture).
        config: JSON values, shown folded.
    """
    parts = [
        f"<section class=cards>{_cards(metrics)}</section>",
        section("Training", _curves(events), "charts"),
        section("Classes", _table(per_class)),
        section("Pictures", "".join(_picture(*overlay) for overlay in overlays), "gallery"),
        section("Attention", _attention(attention)),
        section("Attention by image", "".join(_picture(*p) for p in attention_pictures), "gallery"),
    ]
    return page(title, facts, parts, config)


def page(title: str, facts: dict[str, str], parts: list[str], config: dict[str, Any]) -> str:
    """A whole page: head, then `parts` (HTML), then the configuration, folded."""
    parts = [
        f"<header><h1>{escape(title)}</h1><dl>{''.join(_fact(*fact) for fact in facts.items())}</dl></header>",
        *parts,
        f"<details><summary>Configuration</summary><pre>{escape(json.dumps(config, indent=2))}</pre></details>",
    ]
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        "<meta http-equiv=Content-Security-Policy "
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def section(heading: str, content: str, kind: str = "") -> str:
    """A part of a page; nothing where `content` is empty."""
    return f'<section><h2>{heading}</h2><div class="{kind}">{content}</div></section>' if content else ""


def _fact(name: str, value: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _cards(metrics: dict[str, float]) -> str:
    cards = [
        f"<article><h3>PQ {name}</h3><strong>{_figure(metrics.get('PQ' + suffix))}</strong>"
        f"<p>SQ {_figure(metrics.get('SQ' + suffix))} · RQ {_figure(metrics.get('RQ' + suffix))}</p></article>"
        for name, suffix in _GROUPS
    ]
    cards += [
        f"<article><h3>{name}</h3><strong>{_figure(metrics.get(name))}</strong><p>{what}</p></article>"
        for name, what in (("AP", "instance masks"), ("AP_box", "instance boxes"), ("mIoU", "category per pixel"))
    ]
    return "".join(cards)


def _curves(events: list[dict[str, Any]]) -> str:
    curves: dict[str, list[tuple[float, float]]] = {}
    qualities = tuple(f"PQ{suffix}" for _, suffix in _GROUPS)
    for event in events:
        for name in (*_LOSSES, "lr") if event.get("kind", "step") == "step" else qualities:
            if isinstance(value := event.get(name), int | float) and not isinstance(value, bool):
                curves.setdefault(name, []).append((float(event.get("step", 0)), float(value)))
    charts = {
        "Losses": _LOSSES,
        "Panoptic quality on the validation split": qualities,
        "Learning rate": ("lr",),
    }
    return "".join(
        line_chart(title, {name: curves[name] for name in names if name in curves}, "step")
        for title, names in charts.items()
    )


def _table(per_class: list[dict[str, Any]]) -> str:
    if not per_class:
        return ""
    columns = ["SQ", "RQ", *(["IoU"] if any("IoU" in row for row in per_class) else [])]
    head = "".join(f"<th>{name}</th>" for name in ("class", "", "PQ", *columns, "TP", "FP", "FN"))
    rows = sorted(per_class, key=lambda row: (-row["isthing"], not _occurs(row), -row["PQ"]))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(_row(row, columns) for row in rows)}</tbody></table>"


def _occurs(row: dict[str, Any]) -> bool:
    return row["tp"] + row["fp"] + row["fn"] > 0


def _row(row: dict[str, Any], columns: list[str]) -> str:
    kind = "thing" if row["isthing"] else "stuff"
    shown = {key: _figure(row.get(key)) if _occurs(row) else "–" for key in ("PQ", *columns)}
    bar = f'<span class="bar {kind}" style="width:{min(max(row["PQ"], 0), 100):.1f}%"></span>'
    cells = "".join(f"<td>{shown[key]}</td>" for key in columns)
    counts = "".join(f"<td>{int(row[key])}</td>" for key in ("tp", "fp", "fn"))
    return (
        f"<tr{'' if _occurs(row) else ' class=absent'}><th>{escape(str(row['name']))}</th><td>{kind}</td>"
        f"<td class=pq><b>{shown['PQ']}</b><span class=track>{bar}</span></td>{cells}{counts}</tr>"
    )


def _attention(attention: dict[str, dict[str, float | None]]) -> str:
    if not attention:
        return ""
    columns = ("things", "stuff", "difference")
    head = "".join(f"<th>{text}</th>" for text in ("mean weight M'", "on things", "on stuff", "stuff − things"))
    rows = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{_weight(row[column])}</td>' for column in columns)}</tr>"
        for name, row in attention.items()
    )
    return f"<table class=attention><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _weight(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _picture(name: str, encoded: bytes) -> str:
    from PIL import Image

    picture = Image.open(io.BytesIO(encoded)).convert("RGB")
    picture.thumbnail((MAX_PICTURE_WIDTH, 10 * MAX_PICTURE_WIDTH))
    small = io.BytesIO()
    picture.save(small, "JPEG", quality=85, optimize=True)
    data = base64.b64encode(small.getvalue()).decode("ascii")
    width, height = picture.size
    return (
        f'<figure><img loading=lazy width={width} height={height} alt="{escape(name)}" '
        f'src="data:image/jpeg;base64,{data}"><figcaption>{escape(name)}</figcaption></figure>'
    )


_STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1a1d21; --soft: #646b76; --line: #e3e6ea;
  --series-0: #2a6fdb; --series-1: #e0662f; --series-2: #159a6c; --series-3: #c98a00; --series-4: #8458cf;
  --series-5: #d6457a; }
@media (prefers-color-scheme: dark) { :root { --page: #14161a; --card: #1d2025; --ink: #e8eaed; --soft: #9aa2ad;
  --line: #31363e; --series-0: #6ba4ff; --series-1: #ff9466; --series-2: #45cf9d; --series-3: #f0bd4a;
  --series-4: #b392f2; --series-5: #ff85ad; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 32px 20px 64px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0 0 12px; font-size: 26px; letter-spacing: -.01em; }
h2 { margin: 40px 0 12px; font-size: 18px; }
dl { display: flex; flex-wrap: wrap; gap: 6px 28px; margin: 0; }
dt { color: var(--soft); font-size: 12px; } dd { margin: 0; font-family: ui-monospace, monospace; font-size: 13px;
  overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 24px; }
article, .chart, table, details, .gallery figure { background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
article { padding: 14px 16px; } article h3 { margin: 0; color: var(--soft); font-size: 13px; font-weight: 500; }
article strong { font-size: 32px; line-height: 1.25; font-variant-numeric: tabular-nums; }
article p { margin: 0; color: var(--soft); font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(460px, 100%), 1fr)); gap: 12px; }
figure { margin: 0; } .chart { padding: 14px 16px; } .chart figcaption { font-weight: 600; margin-bottom: 6px; }
.chart svg { display: block; width: 100%; } svg text { fill: var(--soft); font-size: 11px; }
svg .grid { stroke: var(--line); } polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.chart ul { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 8px 0 0; padding: 0; list-style: none;
  color: var(--soft); font-size: 13px; } .chart b { color: var(--ink); font-weight: 600; }
.chart i { display: inline-block; width: 12px; height: 3px; margin-right: 6px; border-radius: 2px;
  vertical-align: 4px; }
table { width: 100%; border-collapse: separate; border-spacing: 0; padding: 6px 0; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 14px; text-align: right; border-top: 1px solid var(--line); font-weight: 400; }
thead th { border: 0; color: var(--soft); font-size: 12px; } td { color: var(--soft); }
tbody th, thead th:first-child, td:nth-child(2), .pq, thead th:nth-child(3) { text-align: left; }
.attention :is(td, thead th):not(:first-child) { text-align: right; }
.pq { width: 34%; white-space: nowrap; } .pq b { display: inline-block; width: 44px; color: var(--ink); }
.track { display: inline-block; width: calc(100% - 52px); height: 8px; border-radius: 4px; background: var(--line);
  overflow: hidden; } .bar { display: block; height: 100%; border-radius: 4px; background: var(--series-2); }
.bar.thing { background: var(--series-0); } .absent { opacity: .45; }
.gallery { display: grid; gap: 12px; } .gallery figure { overflow: hidden; }
.gallery img { display: block; width: 100%; height: auto; }
.gallery figcaption { padding: 6px 14px; color: var(--soft); font-size: 13px; }
details { margin-top: 40px; padding: 12px 16px; } summary { cursor: pointer; font-weight: 600; }
pre { overflow-x: auto; font-size: 12.5px; }
"""
