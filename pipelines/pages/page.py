"""The frame of all pages: self-contained, no script, no request, in light or dark mode."""

from __future__ import annotations

import json
from html import escape
from typing import Any


def page(title: str, facts: dict[str, str], sections: list[str], config: dict[str, Any]) -> str:
    """A whole page: head, then `sections` (HTML), then the configuration, collapsed."""
    body = [
        f"<header><h1>{escape(title)}</h1><dl>{''.join(_fact(*fact) for fact in facts.items())}</dl></header>",
        *sections,
        f"<details><summary>Configuration</summary><pre>{escape(json.dumps(config, indent=2))}</pre></details>",
    ]
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        "<meta http-equiv=Content-Security-Policy "
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def section(heading: str, content: str, kind: str = "") -> str:
    """A section of a page; nothing where `content` is empty."""
    return f'<section><h2>{heading}</h2><div class="{kind}">{content}</div></section>' if content else ""


def _fact(name: str, value: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"


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
