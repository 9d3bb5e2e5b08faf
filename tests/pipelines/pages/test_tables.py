"""Tables of quality on a terminal: a dash stands for what the data do not have."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pipelines.pages.tables import print_quality

METRICS = {"PQ": 40.0, "SQ": 70.0, "RQ": 50.0, "AP": 30.0, "AP_box": 31.0, "mIoU": 60.0}
METRICS |= {f"{key}{suffix}": 0.0 for key in ("PQ", "SQ", "RQ") for suffix in ("_th", "_st")}


def row(name: str, is_thing: bool, count: int = 3) -> dict[str, Any]:
    return {"name": name, "isthing": int(is_thing), "PQ": 40.0, "SQ": 70.0, "RQ": 50.0, "tp": count, "fp": 0, "fn": 0}


def printed(per_class: list[dict[str, Any]]) -> list[list[str]]:
    """The words of every line, without its frame."""
    stream = io.StringIO()
    print_quality(METRICS, per_class, "", Console(file=stream, width=100))
    return [line.replace("│", " ").split() for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(("is_thing", "missing", "other"), [(True, "stuff", "things"), (False, "things", "stuff")])
def test_a_kind_that_the_data_do_not_have_is_a_dash(is_thing: bool, missing: str, other: str) -> None:
    lines = printed([row("own", is_thing), row("absent", not is_thing, 0)])
    assert [missing, "–", "–", "–"] in lines and [other, "0.0", "0.0", "0.0"] in lines
    ap = ["30.0", "31.0"] if is_thing else ["–", "–"]
    assert ["AP", ap[0], "·", "AP_box", ap[1], "·", "mIoU", "60.0"] in lines
    assert "absent" not in [word for line in lines for word in line]


def test_what_was_measured_as_zero_is_zero() -> None:
    lines = printed([row("own", True), row("other", False)])
    assert ["things", "0.0", "0.0", "0.0"] in lines and ["stuff", "0.0", "0.0", "0.0"] in lines
