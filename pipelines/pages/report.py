"""An evaluation as one self-contained page: figures, curves, classes, pictures and attention."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

from PIL import Image

from pipelines.pages.line_chart import line_chart
from pipelines.pages.page import page, section

MAX_PICTURE_WIDTH = 1500
"""Pixels: wider pictures are scaled down before they go into the page."""
_LOSSES = ("loss", "rpn", "box", "mask", "semantic")
"""The total and the terms of Eq. 7, by their names in a step's event."""
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
        facts: shown in the head: the run's id, the fingerprint of the data, …
        metrics: `PQ SQ RQ PQ_th … AP AP_box mIoU` in per cent; a missing one is shown as a dash.
        per_class: a row per category: `name isthing PQ SQ RQ tp fp fn`, `IoU` where known.
        events: the run's history; the figures of its events become curves over the steps.
        overlays: (name, encoded picture).
        attention: per map the mean of M' over `things` and `stuff`, and their `difference`; may be empty.
        attention_pictures: (name, encoded picture).
        config: JSON values, shown collapsed.
    """
    sections = [
        f"<section class=cards>{_cards(metrics)}</section>",
        section("Training", _curves(events), "charts"),
        section("Classes", _table(per_class)),
        section("Pictures", "".join(_picture(*overlay) for overlay in overlays), "gallery"),
        section("Attention", _attention(attention)),
        section("Attention by image", "".join(_picture(*p) for p in attention_pictures), "gallery"),
    ]
    return page(title, facts, sections, config)


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
