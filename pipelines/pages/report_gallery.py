"""The pictures of a report: figures that need no script, of which a script makes a viewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from aunet.categories import Categories
from pipelines.pages.errors_layer import MEANINGS, swatch
from pipelines.pages.page import asset, data_uri, json_block

NUM_OPEN = 3
"""Pictures that are seen at once without a script."""
TITLES = {"image": "image", "truth": "truth", "prediction": "prediction", "errors": "errors"}
HIDDEN = {"unguided": "prediction without attention", "unguided_errors": "errors without attention"}
FATES = ("found", "missed", "false", "not counted", "crowd")
"""Of a segment, in the order of `Fate`."""


def gallery(items: Sequence[Mapping[str, Any]]) -> str:
    """The viewer, hidden until its script runs, and a figure for each picture; nothing without pictures."""
    if not items:
        return ""
    figures = [_figure(item) for item in items]
    rest = figures[NUM_OPEN:]
    more = f"<details class=inner><summary>{len(rest)} more pictures</summary>{''.join(rest)}</details>" if rest else ""
    viewer = asset("viewer.html").replace("<!-- legend -->", legend())
    return f"{viewer}<div id=shots>{legend()}{''.join(figures[:NUM_OPEN])}{more}</div>"


def legend() -> str:
    """The colours and patterns of the error map."""
    entries = "".join(
        f'<li title="{escape(meaning)}"><img alt="" width=27 height=18 src="{data_uri(swatch(verdict), "image/png")}">'
        f"{name}</li>"
        for verdict, (name, meaning) in MEANINGS.items()
    )
    return f'<ul class=legend aria-label="colours of the error map">{entries}</ul>'


def gallery_data(items: Sequence[Mapping[str, Any]], categories: Categories) -> str:
    """What the script needs to know besides the pictures, as a block of JSON."""
    if not items:
        return ""
    names = ("image_id", "width", "height", "pq", "change", "unguided_pq", "moved", "ranges", "segments")
    return json_block(
        "gallery-data",
        {
            "categories": [[c.name, int(c.is_thing)] for c in categories.entries],
            "fates": FATES,
            "images": [{name: item[name] for name in names} for item in items],
        },
    )


def caption(item: Mapping[str, Any]) -> str:
    """What a figure shows, in words."""
    pq = "nothing to count" if item["pq"] is None else f"PQ {item['pq']:.1f}"
    change = "" if item["change"] is None else f", {item['change']:+.1f} against the champion".replace("-", "−")
    return f"Image {item['image_id']} · {pq}{change}"


def _figure(item: Mapping[str, Any]) -> str:
    layers = {"image": b"", **item["layers"]}
    panels = "".join(_panel(item, name, layers[name]) for name in TITLES)
    maps = "".join(_panel(item, name, layers[name]) for name in (*item["ranges"],))
    hidden = "".join(_panel(item, name, layers[name]) for name in HIDDEN if name in layers)
    return (
        f"<figure class=shot><figcaption>{escape(caption(item))}</figcaption><div class=panels>{panels}</div>"
        f'<div class="panels small">{maps}{hidden}</div></figure>'
    )


def _panel(item: Mapping[str, Any], name: str, layer: bytes) -> str:
    """The picture, shown once and used again, with one layer over it."""
    box, key = f'width="{item["width"]}" height="{item["height"]}"', f"picture-{item['image_id']}"
    content = f'<image id="{key}" {box} href="{data_uri(item["picture"], "image/webp")}"/>'
    if name != "image":
        over = f'<image class=over {box} preserveAspectRatio=none href="{data_uri(layer, "image/png")}"/>'
        content = f'<use href="#{key}"/>{over}'
    title = escape({**TITLES, **HIDDEN}.get(name, f"attention {name}"))
    kind = "heat" if name in item["ranges"] else escape(name)
    return (
        f'<div><svg class="panel {kind}" data-layer="{escape(name)}" viewBox="0 0 {item["width"]} {item["height"]}" '
        f'role=img aria-label="{title} of image {item["image_id"]}">{content}</svg>{title}</div>'
    )
