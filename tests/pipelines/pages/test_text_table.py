"""Tables of plain text: columns in line, whatever the names of classes are."""

from __future__ import annotations

from typing import Any

from pipelines.pages.text_table import quality_text, table

METRICS = {key + group: 12.34 for key in ("PQ", "SQ", "RQ") for group in ("", "_th", "_st")}


def row(name: str, **counts: int) -> dict[str, Any]:
    return {"name": name, "isthing": 1, "PQ": 50.0, "SQ": 100.0, "RQ": 7.5} | {"tp": 0, "fp": 0, "fn": 0} | counts


def test_columns_are_in_line_under_a_rule() -> None:
    assert table([["a", "b"], ["long", "1"], ["x", "1000"]], 1) == [
        "a        b",
        "─" * 10,
        "long     1",
        "x     1000",
    ]


def test_wide_and_combining_characters_take_their_cells() -> None:
    lines = table([["class", "n"], ["犬", "1"], ["e\u0301", "2"]], 1)
    assert lines[2:] == ["犬     1", "e\u0301      2"]


def test_classes_that_occur_with_names_that_can_be_printed() -> None:
    text = quality_text(METRICS, [row("car", tp=3), row("absent"), row("[red]\x1b\u202e", fn=1)], "2 images")
    assert text.startswith("2 images\n") and "12.3" in text and "absent" not in text
    assert "[red]" in text and not set(text) & set("\x1b\u202e")
    assert next(line for line in text.splitlines() if line.startswith("car")).split() == [
        *("car", "thing", "50.0", "100.0", "7.5", "3", "0", "0")
    ]
