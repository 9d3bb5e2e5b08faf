"""What a network will see, as one self-contained page: samples, what is probably not meant, sizes, categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from aunet.names import printable
from pipelines.pages.page import bar, data_uri, page, section


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviewDocument:
    """What the page shows, as plain values."""

    title: str
    facts: dict[str, str]
    """Shown below the title, by name."""
    warnings: Sequence[str]
    samples: Sequence[tuple[bytes, str]]
    """JPEG and caption of each augmented sample."""
    sizes: Sequence[tuple[str, str, int]]
    """Size of images, their size in evaluation, and how many have it."""
    objects: Sequence[dict[str, Any]]
    """Per kind of thing: `name objects median`, and how many are below each limit."""
    classes: Sequence[dict[str, Any]]
    """Per category: `name isthing segments crowds pixels images`."""
    config: dict[str, Any] = field(default_factory=dict)


def render_preview(document: PreviewDocument) -> str:
    """The page as HTML text. Every text in it is escaped."""
    warnings = "".join(f"<li>{_escaped(text)}</li>" for text in document.warnings)
    shots = "".join(
        f'<figure><img loading=lazy alt="{_escaped(caption)}" src="{data_uri(jpeg, "image/jpeg")}">'
        f"<figcaption>{_escaped(caption)}</figcaption></figure>"
        for jpeg, caption in document.samples
    )
    sections = [
        section("Look at this first", f"<ul>{warnings}</ul>" if warnings else "", "warnings"),
        section(
            "Training samples",
            shots,
            "shots",
            note="The first steps, augmented as the training augments them: the image, and over it every segment and "
            "the boxes of the objects it learns. Dark grey teaches nothing.",
        ),
        section(
            "Sizes in evaluation", _table(("images", "network", "number"), document.sizes) if document.sizes else ""
        ),
        section(
            "Objects at the network's size",
            _objects(document.objects),
            note="The side of an object is √(width · height) of its box, in pixels, at the size used in evaluation.",
        ),
        section("Categories", _classes(document.classes)),
    ]
    return page(document.title, document.facts, sections, document.config, style=_STYLE)


def _objects(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return ""
    limits = [name for name in rows[0] if name not in ("id", "name", "objects", "median")]
    cells = []
    for row in rows:
        median = "–" if row["median"] is None else f"{row['median']:.0f}"
        small = [f"{row[name]:,} ({row[name] / max(row['objects'], 1):.0%})" for name in limits]
        cells.append((row["name"], f"{row['objects']:,}", median, *small))
    return _table(("object", "number", "half are larger than", *limits), cells)


def _classes(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return ""
    most = max(1, *(row["pixels"] for row in rows))
    body = []
    for row in sorted(rows, key=lambda row: -row["pixels"]):
        kind = "thing" if row["isthing"] else "stuff"
        cells = "".join(f"<td>{row[key]:,}</td>" for key in ("segments", "crowds", "images"))
        body.append(
            f"<tr{'' if row['segments'] else ' class=absent'}><th>{_escaped(row['name'])}</th><td>{kind}</td>"
            f"<td class=pq>{bar(row['pixels'] / most, kind)}</td>{cells}</tr>"
        )
    head = "".join(f"<th>{name}</th>" for name in ("category", "", "pixels", "segments", "crowds", "images"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f"<th>{_escaped(name)}</th>" for name in heads)
    body = "".join(
        f"<tr><th>{_escaped(str(first))}</th>{''.join(f'<td>{_escaped(str(value))}</td>' for value in rest)}</tr>"
        for first, *rest in rows
    )
    return f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _escaped(text: str) -> str:
    return escape(printable(text))


_STYLE = """
.shots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(520px, 100%), 1fr)); gap: 12px;
  align-items: start; }
.shots figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
.shots img { display: block; width: 100%; }
.shots figcaption { padding: 6px 12px; color: var(--soft); font-size: 12.5px; overflow-wrap: anywhere; }
.warnings ul { margin: 0; padding: 14px 16px 14px 34px; background: var(--card); border: 1px solid var(--bad);
  border-radius: 10px; } .warnings li { overflow-wrap: anywhere; }
table.plain :is(td, thead th):not(:first-child) { text-align: right !important; }
"""
