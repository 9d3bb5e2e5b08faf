"""The frame of all pages: self-contained, no request, in light or dark mode; only what stands by its hash may run."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def page(
    title: str,
    facts: dict[str, str],
    sections: list[str],
    config: dict[str, Any],
    *,
    style: str = "",
    script: str = "",
    data: str = "",
) -> str:
    """A whole page: head, then `sections` (HTML), then the configuration, collapsed.

    A browser applies only this style and runs only this script, by their hashes: nothing that a text brings with it,
    nor attributes such as `style` and `onclick`.

    Args:
        facts: shown below the title, by name.
        style: CSS after that of all pages.
        script: JavaScript, a module.
        data: HTML that no one sees, after the sections.
    """
    header = f"<header><h1>{escape(title)}</h1><dl>{''.join(_fact(*fact) for fact in facts.items())}</dl></header>"
    content = f"<pre tabindex=0>{escape(json.dumps(config, indent=2))}</pre>"
    details = f"<details><summary>Configuration</summary>{content}</details>"
    style = f"{asset('page.css')}{style}"
    policy = f"default-src 'none'; img-src data:; style-src '{_sha256(style)}'; base-uri 'none'; form-action 'none'"
    if script:
        policy += f"; script-src '{_sha256(script)}'"
        data += f"<script type=module>{script}</script>"
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv=Content-Security-Policy content="{policy}">'
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body>{header}<main>{''.join(sections)}</main>{details}{data}</body></html>\n"
    )


def asset(name: str) -> str:
    """The text of a style sheet, a script or a fragment of HTML beside this file."""
    return (FOLDER / name).read_text(encoding="utf-8")


def section(heading: str, content: str, kind: str = "", *, note: str = "", anchor: str = "") -> str:
    """A section of a page; nothing where `content` is empty.

    Args:
        heading: HTML.
        content: HTML.
        kind: class of the content.
        note: HTML, a sentence below the heading.
        anchor: its id, for links.
    """
    if not content:
        return ""
    name = f' id="{anchor}"' if anchor else ""
    below = f"<p class=note>{note}</p>" if note else ""
    return f'<section{name}><h2>{heading}</h2>{below}<div class="{kind}">{content}</div></section>'


def bar(share: float, kind: str = "") -> str:
    """A bar that is filled to `share`, 0 … 1, in the colour of `kind`."""
    width = min(max(100 * share, 0.0), 100.0)
    fill = f'<rect class="bar {kind}" width="{width:.1f}" height="8" rx="1"/>'
    return f'<svg class="track" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">{fill}</svg>'


def json_block(name: str, value: Any) -> str:
    """Data for a script. No text in it can end the block: "<" is written as an escape."""
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")
    return f'<script type="application/json" id="{name}">{text}</script>'


def data_uri(content: bytes, kind: str) -> str:
    """A file as an address that holds it; `kind` such as `image/png`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _fact(name: str, value: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"


def _sha256(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
