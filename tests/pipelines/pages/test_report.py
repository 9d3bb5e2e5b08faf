"""The report: well-formed, self-contained, nothing unescaped, small, whole also when there is little to tell."""

from __future__ import annotations

import ast
import base64
import hashlib
import inspect
import json
import math
import re
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from aunet.categories import Categories
from aunet.data.shapes import CATEGORIES
from aunet.evaluation.comparison import compare
from pipelines import evaluate
from pipelines.pages.line_chart import MAX_POINTS, line_chart
from pipelines.pages.report import ReportDocument, render_report
from tests.html_page import Page
from tests.pipelines.pages.scene_reports import scene_report

EVIL = "</script><script>alert('x')</script>\"&<b>"


@pytest.fixture(scope="module")
def document() -> ReportDocument:
    return scene_report(12, shown=6).document


def gallery_data(html: str) -> dict[str, Any]:
    """The block of data as a browser reads it: up to the first end tag."""
    block = re.search(r'<script type="application/json" id="gallery-data">(.*?)</script', html, re.DOTALL)
    assert block
    return json.loads(block[1])


def test_everything_is_on_the_page(document: ReportDocument) -> None:
    page = Page(render_report(document))
    for words in (
        "shapes_smoke-8c1f2e90ab43",
        "Better than the champion by",
        "models:/shapes_smoke@champion",
        f"{document.metrics['PQ']:.1f}",
        *(c.name for c in CATEGORIES.entries),
        "Confused classes",
        "Size of objects",
        "Share of each weighted loss",
        "λ4 = 0.3 · semantic",
        "rank 1 was killed; resuming from step 300 with 2 workers; 30 steps are computed again",
        "goodput",
        "160×128",
        "python -m jobs reproduce runs/shapes_smoke-8c1f2e90ab43",
    ):
        assert words in page.text, words
    assert len(page.all("polyline")) == 5 + 3 + 1, "losses, PQ and lr"
    assert len([a for a in page.all("polygon") if "area" in (a.get("class") or "")]) == 4
    labels = [a["aria-label"] or "" for a in page.all("svg") if "panel" in (a.get("class") or "")]
    assert len(labels) == 6 * (4 + 5 + 2), "image, truth, prediction, errors; five maps; two without attention"
    assert all(re.fullmatch(r"[\w ]+ of image \d+", label) for label in labels)


def test_no_text_leaves_its_place(document: ReportDocument) -> None:
    named = scene_report(4, shown=2, name=EVIL).document
    hostile = replace(
        named,
        title=EVIL,
        facts={EVIL: EVIL},
        attention={EVIL: {"things": None, "stuff": 1.0, "difference": None}},
        champion=EVIL,
        events=[{"kind": "restart", "step": 1, "at": 1.0, "text": EVIL}, {"kind": "end", "step": 1, "at": 2.0}],
        lineage={EVIL: EVIL},
        command=EVIL,
        config={EVIL: EVIL},
    )
    html = render_report(hostile)
    page, harmless = Page(html), Page(render_report(document))
    assert len(page.all("script")) == len(harmless.all("script")) == 2 and page.all("b") != []
    assert html.lower().count("<script") == html.lower().count("</script") == 2 and "<b>" not in html.split("<main>")[0]
    assert page.text.count(EVIL) >= 10
    assert EVIL in [name for name, _ in gallery_data(html)["categories"]]


def test_only_what_stands_by_its_hash_runs_and_nothing_is_fetched(document: ReportDocument) -> None:
    html = render_report(document)
    page = Page(html)
    policy = next(a["content"] or "" for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    style, script = (
        re.search(f"<{tag}>(.*?)</{tag.split()[0]}>", html, re.DOTALL) for tag in ("style", "script type=module")
    )
    for name, content in (("style-src", style), ("script-src", script)):
        assert content
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert rules.pop(name) == f"'sha256-{digest}'"
    assert rules == {"default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        for name in ("src", "href"):
            value = attributes.get(name) or "data:"
            assert value.startswith("data:") or (value.startswith("#") and tag in ("use", "a"))
    assert style and "url(" not in style[1] and "@import" not in style[1]
    assert script and "innerHTML" not in script[1] and "eval" not in script[1].replace("evaluation", "")


def test_the_last_pictures_are_left_out_where_the_page_grows_too_large(document: ReportDocument) -> None:
    whole = render_report(document)
    limit = len(whole.encode()) - 1
    smaller = render_report(document, limit)
    assert len(smaller.encode()) <= limit
    ids = [item["image_id"] for item in document.gallery]
    assert [image["image_id"] for image in gallery_data(smaller)["images"]] == ids[:-1]
    assert 'id="gallery-data"' not in render_report(document, 1), "without pictures it is as small as it gets"


def test_a_large_gallery_stays_below_three_megabytes(document: ReportDocument) -> None:
    noise = np.random.default_rng(0).bytes(90_000)
    items = [document.gallery[0] | {"image_id": n, "picture": noise} for n in range(40)]
    html = render_report(replace(document, gallery=items))
    assert 2_500_000 < len(html.encode()) <= 3_000_000


def test_little_to_tell(document: ReportDocument) -> None:
    nothing = replace(
        document,
        facts={},
        metrics={},
        per_class=[],
        gallery=[],
        events=[],
        attention={},
        config={},
        comparison=None,
        champion="",
        data={},
        lineage={},
        command="",
    )
    page = Page(render_report(nothing))
    assert "First model" in page.text and page.all("img") == []
    assert "viewer" not in [a.get("id") for a in page.all("div")]
    assert not Page(render_report(replace(nothing, events=[{"step": 1, "loss": 2.0}]))).all("polyline")


def test_each_verdict_has_its_words(document: ReportDocument) -> None:
    counts = document.outcomes.counts(CATEGORIES)
    equal = compare(counts, counts, CATEGORIES)
    assert "Equal to the champion" in Page(render_report(replace(document, comparison=equal))).text
    assert document.comparison
    worse = replace(document.comparison, verdict="worse")
    assert "Worse than the champion by" in Page(render_report(replace(document, comparison=worse))).text
    undecided = replace(document.comparison, verdict="undecided", more_images=1234)
    text = Page(render_report(replace(document, comparison=undecided))).text
    assert "Undecided: +" in text and "About 1,234 more images would decide." in text
    one_more = replace(document.comparison, verdict="undecided", more_images=1)
    assert "About 1 more image would decide." in Page(render_report(replace(document, comparison=one_more))).text


def test_evaluate_fills_every_field() -> None:
    """Nothing is drawn that only a test knows."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(evaluate))) if isinstance(node, ast.Call)]
    (call,) = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == ReportDocument.__name__]
    assert {keyword.arg for keyword in call.keywords} == {field.name for field in fields(ReportDocument)}


def test_what_occurs_in_few_images_has_no_interval(document: ReportDocument) -> None:
    outcomes, name = document.outcomes, CATEGORIES.entries[0].name
    sole = int(outcomes.image_id[outcomes.category == 0][0])
    rare = replace(document, outcomes=outcomes.select((outcomes.category != 0) | (outcomes.image_id == sole)))
    for shown, has_interval in ((document, True), (rare, False)):
        row = re.search(f"<tr><th scope=row>{name}</th>.*?</tr>", render_report(shown))
        assert row and ("class=whisker" in row[0]) == has_interval and ("95% interval" in row[0]) == has_interval
        assert row[0].count("too few images or matches for an interval") == 2 * (not has_interval), (
            "in words, and spoken"
        )


def test_one_image_says_nothing_of_others() -> None:
    html = render_report(scene_report(1, shown=1, champion=0).document)
    assert "class=whisker" not in html and "<p>95%" not in html
    assert html.count("<p>too few images or matches for an interval</p>") == 3
    assert re.search(r"First model: PQ \d+\.\d</h2>", html), "and no interval in the headline"


def of_one_kind(document: ReportDocument, is_thing: bool) -> ReportDocument:
    """The same document where the data have nothing but things, or nothing but stuff."""
    kept = [n for n, category in enumerate(CATEGORIES.entries) if category.is_thing == is_thing]
    categories = Categories(tuple(CATEGORIES.entries[n] for n in kept))
    index = np.full(len(CATEGORIES) + 1, -1)
    index[kept] = np.arange(len(kept))
    rows = document.outcomes.select(np.isin(document.outcomes.category, kept))
    outcomes = replace(rows, category=index[rows.category], other_category=index[rows.other_category])
    counts = outcomes.counts(categories)
    quality = counts.quality(categories)
    return replace(
        document,
        categories=categories,
        outcomes=outcomes,
        metrics=quality.metrics() | {"AP": 34.2 * is_thing, "AP_box": 36.9 * is_thing, "mIoU": 50.0},
        per_class=quality.rows(),
        gallery=[],
        comparison=compare(counts, replace(counts, iou=0.9 * counts.iou), categories),
        data={},
    )


@pytest.mark.parametrize(("is_thing", "missing"), [(True, "stuff"), (False, "things")])
def test_a_kind_that_the_data_do_not_have_is_a_dash(document: ReportDocument, is_thing: bool, missing: str) -> None:
    html = render_report(of_one_kind(document, is_thing))
    cards = dict(re.findall("<article><h3>(.*?)</h3>(.*?)</article>", html))
    assert cards[f"PQ {missing}"] == "<strong>–</strong><p>not measured</p><p>SQ – · RQ –</p>"
    for name in ("AP", "AP box"):
        assert cards[name].startswith("<strong>–</strong>") != is_thing
    assert {n for n, text in cards.items() if "–</strong>" not in text} >= {"PQ all", "mIoU"}
    forest = re.search("<svg class=forest .*?</svg>", html)
    assert forest and f'{missing} –"' in forest[0].replace(" –;", ' –"') and forest[0].count("<circle") == 2
    assert len(Page(html).all("polyline")) == 5 + 2 + 1, "losses, PQ and PQ of one group, lr"


def test_a_model_without_attention_has_no_switch(document: ReportDocument) -> None:
    plain = scene_report(4, shown=2, attention=False).document
    html = render_report(plain)
    layers = {a.get("data-layer") for a in Page(html).all("svg")} - {None}
    assert layers == {"image", "truth", "prediction", "errors"}
    assert all(image["ranges"] == {} for image in gallery_data(html)["images"])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_figures_that_are_no_numbers_are_left_out_of_curves(bad: float) -> None:
    chart = line_chart("loss", {"a": [(0, 1.0), (1, bad), (2, 2.0)]}, "step")
    assert "nan" not in chart and "inf" not in chart and Page(chart).all("polyline")


def test_losses_that_are_no_numbers_have_no_share(document: ReportDocument) -> None:
    steps = [{"kind": "step", "step": n, "rpn": 1.0, "box": 1.0, "mask": 1.0, "semantic": math.nan} for n in range(9)]
    page = Page(render_report(replace(document, events=steps)))
    assert not [a for a in page.all("polygon") if "area" in (a.get("class") or "")]


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
