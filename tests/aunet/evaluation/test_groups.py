"""Figures that measure nothing: those of a kind of which no category occurs."""

from __future__ import annotations

from typing import Any

import pytest

from aunet.evaluation.groups import measured, unmeasured

METRICS = {key + suffix: 50.0 for suffix in ("", "_th", "_st") for key in ("PQ", "SQ", "RQ")}
METRICS |= {"AP": 30.0, "AP_box": 30.0, "mIoU": 60.0}


def row(is_thing: bool, count: int = 1) -> dict[str, Any]:
    return {"isthing": int(is_thing), "tp": 0, "fp": 0, "fn": count}


@pytest.mark.parametrize(
    ("per_class", "hidden"),
    [
        ([row(True), row(False)], ""),
        ([row(True)], "PQ_st SQ_st RQ_st"),
        ([row(True), row(False, 0)], "PQ_st SQ_st RQ_st"),
        ([row(False)], "PQ_th SQ_th RQ_th AP AP_box"),
        ([row(False, 0)], "PQ SQ RQ PQ_th SQ_th RQ_th PQ_st SQ_st RQ_st AP AP_box"),
        ([], ""),
    ],
)
def test_only_figures_of_kinds_that_occur_are_measured(per_class: list[dict[str, Any]], hidden: str) -> None:
    assert unmeasured(per_class) == set(hidden.split())
    assert measured(METRICS, per_class) == {n: v for n, v in METRICS.items() if n not in hidden.split()}
