"""The report: well-formed, self-contained, nothing unescaped, whole also when there is little to tell."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from PIL import Image

from pipelines.pages.line_chart import MAX_POINTS, line_chart
from pipelines.pages.report import render_report
from tests.html_page import Page

EVIL = "<script>alert('x')</script>\"&"


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (2000, 100), (200, 30, 30)).save(buffer, "PNG")
    return buffer.getvalue()


def row(name: str, isthing: int, pq: float, tp: int = 3) -> dict[str, Any]:
    return {
        "category_id": 1,
        "name": name,
        "isthing": isthing,
        "PQ": pq,
        "SQ": pq,
        "RQ": pq,
        "tp": tp,
        "fp": 0,
        "fn": 0,
    }


def render(**changes: Any) -> str:
    arguments: dict[str, Any] = {
        "title": "shapes",
        "facts": {"run": "abc", "data": "def"},
        "metrics": {"PQ": 61.25, "SQ": 80.0, "RQ": 70.0, "PQ_th": 40.0, "AP": 33.3, "mIoU": 77.7},
        "per_class": [row("disc", 1, 40.0) | {"IoU": 55.5}, row("sky", 0, 82.5), row("never", 1, 0.0, tp=0)],
        "events": [
            *(
                {"kind": "step", "step": n, "epoch": n / 4, "loss": 3 / n, "memory_gb": 1.0, "mask": 1 / n, "lr": 0.1}
                for n in range(1, 9)
            ),
            *({"kind": "evaluation", "step": n, "PQ": 10.0 * n, "mIoU": 1.0} for n in (4, 8)),
        ],
        "overlays": [("000000000001.png", picture())],
        "attention": {"mam": {"things": 0.25, "stuff": 0.8754, "difference": 0.6254}},
        "attention_pictures": [("000000000002.png", picture())],
        "config": {"name": "shapes", "train": {"lr": 0.001}},
    }
    return render_report(**(arguments | changes))


def test_everything_is_on_the_page() -> None:
    page = Page(render())
    figures = ("61.2", "SQ 80.0 · RQ 70.0", "33.3", "77.7", "82.5", "55.5", "0.250", "0.875", "0.625", '"lr": 0.001')
    names = ("shapes", "abc", "disc", "mam", "000000000001.png", "000000000002.png")
    titles = ("Losses", "Learning rate", "Panoptic quality on the validation split")
    for words in figures + names + titles:
        assert words in page.text, words
    assert len(page.all("polyline")) == 4, "loss, mask, PQ and lr"
    widths = [a["style"] for a in page.all("span") if "bar" in (a["class"] or "")]
    assert widths == ["width:40.0%", "width:0.0%", "width:82.5%"], "things before stuff, what never occurs last"


def test_all_texts_are_escaped() -> None:
    page = Page(
        render(
            title=EVIL,
            facts={EVIL: EVIL},
            per_class=[row(EVIL, 1, 5.0)],
            overlays=[(EVIL, picture())],
            attention={EVIL: {"things": None, "stuff": 1.0, "difference": None}},
            config={EVIL: EVIL},
        )
    )
    assert "script" not in [tag for tag, _ in page.tags]
    assert page.text.count(EVIL) >= 7
    assert page.all("img")[0]["alt"] == EVIL


def test_nothing_is_fetched_and_no_script_runs() -> None:
    page = Page(render())
    for _, attributes in page.tags:
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
        assert not any(name.startswith("on") for name in attributes)
    assert "url(" not in render() and "@import" not in render()
    assert any("default-src 'none'" in (meta.get("content") or "") for meta in page.all("meta"))


def test_wide_pictures_become_smaller() -> None:
    image = Page(render()).all("img")[0]
    assert (image["width"], image["height"]) == ("1500", "75")


def test_little_to_tell() -> None:
    page = Page(
        render(
            facts={}, metrics={}, per_class=[], events=[], overlays=[], attention={}, attention_pictures=[], config={}
        )
    )
    assert page.text.count("–") == 9 + 3 and page.all("svg") == page.all("table") == page.all("img") == []
    assert not Page(render(events=[{"step": 1, "loss": 2.0}])).all("polyline"), "one point makes no curve"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_figures_that_are_no_numbers_are_left_out_of_curves(bad: float) -> None:
    chart = line_chart("loss", {"a": [(0, 1.0), (1, bad), (2, 2.0)]}, "step")
    assert "nan" not in chart and "inf" not in chart and Page(chart).all("polyline")


def test_long_curves_are_thinned_and_peaks_do_not_flatten_them() -> None:
    curve = [(float(n), 1000.0 if n == 0 else 1.0) for n in range(10_000)]
    chart = Page(line_chart("loss", {"a": curve}, "step"))
    points = [tuple(map(float, p.split(","))) for p in (chart.all("polyline")[0]["points"] or "").split()]
    assert len(points) <= MAX_POINTS
    assert points[0][1] <= points[-1][1] < 150, "1.0 stands well above the floor although one point was a thousand"


@pytest.mark.parametrize("value", [0.0, 1e-5, 3.0, 12345.0])
def test_a_flat_curve_has_an_axis(value: float) -> None:
    chart = Page(line_chart("lr", {"lr": [(0, value), (5, value)]}, "step"))
    assert 3 <= sum(a.get("class") == "grid" for a in chart.all("line")) <= 9
