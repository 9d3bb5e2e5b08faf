"""What a model was made from: its data, and where everything came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from aunet.categories import Categories
from pipelines.pages.page import bar

_SPLITS = {"train": "training", "val": "validation"}


def data_card(data: Mapping[str, Any], categories: Categories) -> str:
    """Images, sizes and classes of every split; nothing where `data` is empty."""
    if not data:
        return ""
    splits: Mapping[str, Mapping[str, Any]] = data["splits"]
    rows = [
        f"<tr><th scope=row>{escape(_SPLITS.get(name, name))}</th><td>{split['images']:,}</td>"
        f"<td>{sum(split['segments']):,}</td><td>{split['quarantined']:,}</td>"
        f"<td class=text>{escape(_sizes(split))}</td>"
        f"<td class=text><code>{escape(split['fingerprint'])}</code></td></tr>"
        for name, split in splits.items()
    ]
    heads = ("split", "images", "segments", "left out", "sizes", "fingerprint")
    head = "".join(
        f'<th scope=col class="{"text" if name in ("sizes", "fingerprint") else ""}">{name}</th>' for name in heads
    )
    table = f"<table class=data><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<div class=scroll>{table}</div>{_balance(splits, categories)}"


def _sizes(split: Mapping[str, Any]) -> str:
    shown = [f"{width}×{height}" for width, height, _ in split["sizes"]]
    hidden = split["num_sizes"] - len(shown)
    return ", ".join(shown) + (f" and {hidden:,} more" if hidden > 0 else "")


def _balance(splits: Mapping[str, Mapping[str, Any]], categories: Categories) -> str:
    """How the segments are spread over the classes, one bar for each split."""
    names = list(splits)
    totals = {name: max(sum(splits[name]["segments"]), 1) for name in names}
    most = max((n / totals[name] for name in names for n in splits[name]["segments"]), default=0) or 1
    order = sorted(range(len(categories)), key=lambda n: -max(splits[name]["segments"][n] for name in names))
    rows = []
    for n in order:
        kind = "thing" if categories.entries[n].is_thing else ""
        cells = "".join(
            f"<td class=pq><b>{splits[name]['segments'][n]:,}</b>"
            f"{bar(splits[name]['segments'][n] / totals[name] / most, kind)}</td>"
            for name in names
        )
        rows.append(f"<tr><th scope=row>{escape(categories.entries[n].name)}</th>{cells}</tr>")
    heads = "".join(f"<th scope=col class=pq>segments, {escape(_SPLITS.get(name, name))}</th>" for name in names)
    table = (
        f"<table class='data balance'><thead><tr><th scope=col>class</th>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    return f"<details class=inner><summary>Class balance</summary><div class=scroll>{table}</div></details>"


def lineage(entries: Mapping[str, str], command: str) -> str:
    """Hashes and addresses by name, and the command that makes the model again."""
    facts = "".join(
        f"<tr><th scope=row>{escape(k)}</th><td class=text><code>{escape(v)}</code></td></tr>"
        for k, v in entries.items()
    )
    table = f"<table class='data lineage'><tbody>{facts}</tbody></table>" if facts else ""
    again = f"<p class=again>Make it again:</p><pre id=command tabindex=0>{escape(command)}</pre>" if command else ""
    return f"{table}{again}"


def attention_table(attention: Mapping[str, Mapping[str, float | None]]) -> str:
    """The mean weight of each attention map on things and on stuff."""
    if not attention:
        return ""
    columns: Sequence[str] = ("things", "stuff", "difference")
    head = "".join(f"<th scope=col>{text}</th>" for text in ("map", "on things", "on stuff", "stuff − things"))
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th>{''.join(f'<td>{_weight(row[column])}</td>' for column in columns)}</tr>"
        for name, row in attention.items()
    )
    return f"<div class=scroll><table class=data><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"


def _weight(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
