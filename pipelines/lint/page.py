"""The defects of a data set as one self-contained page: counts, pictures, classes."""

from __future__ import annotations

import base64
import html
from dataclasses import asdict
from typing import Any

from aunet.data.defects import RULES, Defect, counts
from aunet.names import printable
from pipelines.lint.pictures import draw_defect
from pipelines.lint.split import SplitLint
from pipelines.pages.page import bar, page, section

PICTURES = 4
"""Pictures per rule."""
LISTED = 200
"""Defects per rule that the page lists; the others are counted, and `lint.json` has all."""


def render_lint(lint: SplitLint) -> str:
    """The page as HTML text. Every text in it is escaped."""
    numbers = counts(lint.defects)
    errors = sum(n for rule, n in numbers.items() if RULES[rule].severity == "error")
    figures = {
        "images": lint.annotations.num_images,
        "errors": errors,
        "warnings": len(lint.defects) - errors,
        "left out": lint.num_quarantined,
    }
    cards = "".join(f"<article><h3>{name}</h3><strong>{n:,}</strong></article>" for name, n in figures.items())
    head = "".join(f"<th>{name}</th>" for name in ("rule", "", "what", "defects"))
    rows = "".join(
        f'<tr><th><a href="#{rule}">{rule}</a></th><td>{RULES[rule].severity}</td>'
        f"<td>{_escaped(RULES[rule].what)}</td><td>{n:,}</td></tr>"
        for rule, n in numbers.items()
    )
    by_rule: dict[str, list[Defect]] = {rule: [] for rule in numbers}
    for defect in lint.defects:
        by_rule[defect.rule].append(defect)
    legend = "<p>Pink: the pixels of the map. Yellow: the box of the JSON.</p>"
    sections = [
        f"<section class=cards>{cards}</section>",
        section("Rules", f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""),
        legend if numbers else "",
        *(_rule_section(rule, defects, lint) for rule, defects in by_rule.items()),
        section("Classes", _class_table(lint.classes)),
    ]
    uris = {name: uri for name, uri in asdict(lint.uris).items() if uri is not None}
    title = "Defects of the data" if lint.defects else "Data without a defect"
    return page(title, {name.replace("_", " "): uri for name, uri in uris.items()}, sections, uris, style=_STYLE)


def _escaped(text: str) -> str:
    return html.escape(printable(text))


def _rule_section(rule: str, defects: list[Defect], lint: SplitLint) -> str:
    """One broken rule: its pictures and its defects."""
    num_unlisted = len(defects) - LISTED
    items = "".join(f"<li>{_escaped(d.message)}</li>" for d in defects[:LISTED])
    more = f"<li>… and {num_unlisted:,} more</li>" if num_unlisted > 0 else ""
    figures = []
    for defect in defects:
        record = lint.annotations.records.get(defect.image)
        if len(figures) == PICTURES or record is None:
            continue
        if drawn := draw_defect(defect, record, lint.uris):
            data = base64.b64encode(drawn).decode("ascii")
            message = _escaped(defect.message)
            image = f'<img loading=lazy alt="{message}" src="data:image/jpeg;base64,{data}">'
            figures.append(f"<figure>{image}<figcaption>{message}</figcaption></figure>")
    text = f"<p>{_escaped(RULES[rule].what)}. Cure: {_escaped(RULES[rule].cure)}.</p>"
    pictures = f"<div class=shots>{''.join(figures)}</div>" if figures else ""
    return section(f'<span id="{rule}">{rule}</span>', f"{text}{pictures}<ul>{items}{more}</ul>", "rule")


def _class_table(classes: list[dict[str, Any]]) -> str:
    if not classes:
        return ""
    most = max(max(row["segments"] for row in classes), 1)
    head = "".join(f"<th>{name}</th>" for name in ("class", "", "segments", "crowds", "images", "pixels"))
    rows = []
    for row in sorted(classes, key=lambda row: -row["segments"]):
        kind = "thing" if row["isthing"] else "stuff"
        cells = "".join(f"<td>{row[key]:,}</td>" for key in ("crowds", "images", "pixels"))
        rows.append(
            f"<tr{'' if row['segments'] else ' class=absent'}><th>{_escaped(str(row['name']))}</th><td>{kind}</td>"
            f"<td class=pq><b>{row['segments']:,}</b>{bar(row['segments'] / most, kind)}</td>{cells}</tr>"
        )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


_STYLE = """
.shots { display: flex; flex-wrap: wrap; gap: 12px; align-items: flex-start; margin: 12px 0; }
.shots figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
.shots img { display: block; max-width: 100%; }
.shots figcaption { max-width: 306px; padding: 6px 12px; color: var(--soft); font-size: 12.5px;
  overflow-wrap: anywhere; }
.rule p { margin: 0; color: var(--soft); } .rule ul { padding-left: 20px; font-size: 13px; overflow-wrap: anywhere;
  max-height: 320px; overflow-y: auto; }
tbody th a { color: inherit; } td:nth-child(3) { text-align: left; }
"""
