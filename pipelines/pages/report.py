"""An evaluation as one self-contained page: verdict, pictures to look into, classes, and how the model came to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aunet.categories import Categories
from aunet.evaluation.comparison import Comparison
from aunet.evaluation.groups import GROUPS, unmeasured
from aunet.evaluation.outcomes import Outcomes
from aunet.evaluation.resampling import LEAST_IMAGES
from aunet.evaluation.spans import spans
from pipelines.pages.page import asset, page, section
from pipelines.pages.report_classes import class_table, confusion_table, near_miss_table, size_table
from pipelines.pages.report_data import attention_table, data_card, lineage
from pipelines.pages.report_gallery import gallery, gallery_data
from pipelines.pages.report_head import NO_CHAMPION, cards, verdict
from pipelines.pages.report_training import curves, resilience

MAX_BYTES = 3_000_000
SCRIPTS = ("report_layers.js", "report_words.js", "report_viewer.js", "report_table.js")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportDocument:
    """All that the page says, as plain values."""

    title: str
    """Name of the configuration."""
    facts: dict[str, str]
    """In the head, by name: the run's id, the fingerprint of the data, …"""
    metrics: dict[str, float]
    """`PQ SQ RQ PQ_th … AP AP_box mIoU` in per cent; a missing one is shown as a dash or left out."""
    per_class: list[dict[str, Any]]
    """A row per category in their order: `category_id name isthing PQ SQ RQ tp fp fn`, `IoU` where known."""
    attention: dict[str, dict[str, float | None]]
    """Per map the mean of M' over `things` and `stuff`, and their `difference`; may be empty."""
    categories: Categories
    outcomes: Outcomes
    gallery: list[dict[str, Any]]
    """Pictures, see `measuring.gallery_item.draw_item`; the last are left out where the page would grow too large."""
    events: list[dict[str, Any]]
    """The run's history."""
    config: dict[str, Any]
    """JSON values of RunConfig, shown collapsed."""
    comparison: Comparison | None = None
    """With the champion, on the same images; None: there is none."""
    champion: str = ""
    """What people call it."""
    uncompared: str = NO_CHAMPION
    """Why there is no comparison, where there is none."""
    data: dict[str, Any] = field(default_factory=dict)
    """See `measuring.data_card`."""
    lineage: dict[str, str] = field(default_factory=dict)
    """Hashes and addresses of what the model was made from, by name."""
    command: str = ""
    """Makes the model again."""


def render_report(document: ReportDocument, max_bytes: int = MAX_BYTES) -> str:
    """The page as HTML text, at most `max_bytes` long unless it is longer without pictures. Every text is escaped."""
    sections = _sections(document)
    style, script = asset("report.css"), "\n".join(asset(name) for name in SCRIPTS)
    pictures: Sequence[dict[str, Any]] = document.gallery
    while True:
        shown = section("Pictures", gallery(pictures), anchor="pictures", note=_PICTURES)
        content = [*sections[:1], shown, *sections[1:]]
        data = gallery_data(pictures, document.categories)
        html = page(document.title, document.facts, content, document.config, style=style, script=script, data=data)
        excess = len(html.encode()) - max_bytes
        if excess <= 0 or not pictures:
            return html
        pictures = pictures[:-1]


_PICTURES = (
    "Drag the line, or use the slider, to go from the image to the truth, the prediction and its errors; point at a "
    "segment to see what became of it."
)
_CLASSES = (
    "The line over a bar is the 95% interval of PQ, from images drawn again with replacement; "
    f"classes in fewer than {LEAST_IMAGES} images have none."
)
_CHANGE = " Change: points of PQ against the champion; ▲ and ▼ mark those whose interval excludes 0."

_ATTENTION = "The mean weight M' of each map; it is meant to be high on background."


def _sections(document: ReportDocument) -> list[str]:
    """All but the pictures, which come second."""
    categories, outcomes = document.categories, document.outcomes
    intervals = spans(outcomes.counts(categories), categories)
    comparison, metrics = document.comparison, document.metrics
    banner = verdict(metrics, len(outcomes.images), intervals, comparison, document.champion or document.uncompared)
    losses, hidden = document.config.get("loss", {}), unmeasured(document.per_class)
    qualities = [f"PQ{suffix}" for _, suffix in GROUPS if f"PQ{suffix}" not in hidden]
    classes = class_table(document.per_class, intervals.per_class, comparison)
    failures = [
        ("Confused classes", confusion_table(outcomes, categories), "Segments that overlap by more than half."),
        ("Near misses", near_miss_table(outcomes, categories), "Missed, but with an IoU of 0.45 to 0.5."),
        ("Size of objects", size_table(outcomes, categories), "Things by their area in pixels."),
    ]
    blocks = [
        f"<div><h3>{name}</h3><p class=note>{note}</p><div class=scroll>{table}</div></div>"
        for name, table, note in failures
        if table
    ]
    stacks = "".join(f"<div class=stack>{''.join(stack)}</div>" for stack in (blocks[:1], blocks[1:]) if stack)
    return [
        f"{banner}<section class=cards aria-label=figures>{cards(metrics, document.per_class, intervals)}</section>",
        section(
            "Classes", _searchable(classes), anchor="classes-section", note=_CLASSES + (_CHANGE if comparison else "")
        ),
        section("Where it fails", stacks, "pair", anchor="failures"),
        section("Attention", attention_table(document.attention), note=_ATTENTION),
        section("Training", curves(document.events, losses, qualities), "charts", anchor="training"),
        section("Checkpoints and interruptions", resilience(document.events)),
        section("Data", data_card(document.data, categories), anchor="data"),
        section("Lineage", lineage(document.lineage, document.command), anchor="lineage"),
    ]


def _searchable(table: str) -> str:
    if not table:
        return ""
    field_line = (
        '<div id=search-line hidden><label>Search <input id=search type=search placeholder="class or kind"></label>'
        "<span id=search-status role=status></span></div>"
    )
    return f"{field_line}<div class=scroll>{table}</div>"
