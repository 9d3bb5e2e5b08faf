"""The report in headless Chromium: quiet, without requests, by keyboard and by pointer, for everybody's eyes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aunet.data.shapes import write_scenes
from pipelines.lint_data import lint_data
from pipelines.pages.certificate import render_certificate
from pipelines.pages.report import render_report
from tests.browser import Visit, chromium
from tests.pipelines.pages.scene_reports import SceneReport, scene_report

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def scenes() -> SceneReport:
    return scene_report(16, shown=12)


@pytest.fixture(scope="module")
def path(scenes: SceneReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(render_report(scenes.document), encoding="utf-8")
    return file


@pytest.fixture
def visit(browser: Any, path: Path) -> Iterator[Callable[..., Visit]]:
    """Opens the page; at the end nothing has gone wrong on it."""
    visits: list[Visit] = []

    def open_page(file: Path = path, **context: Any) -> Visit:
        visits.append(Visit(browser, file, **context))
        return visits[-1]

    yield open_page
    for opened in visits:
        opened.context.close()
    assert [complaint for opened in visits for complaint in opened.complaints] == []


def shown_ids(page: Any) -> list[int]:
    """Images in the strip, in its order."""
    labels = page.locator("#strip button").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    return [int(label.split(",")[0].removeprefix("image ")) for label in labels]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
def test_axe_finds_nothing_serious(visit: Callable[..., Visit], scheme: str, width: int) -> None:
    opened = visit(color_scheme=scheme)
    opened.page.set_viewport_size({"width": width, "height": 900})
    assert opened.faults() == []
    opened.page.locator("#switch").click()
    opened.page.locator("#map").select_option("mam")
    assert opened.faults() == []
    wide = opened.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, "nothing sticks out at the side"


def test_axe_sees_what_is_wrong(visit: Callable[..., Visit]) -> None:
    opened = visit()
    opened.page.evaluate("document.querySelector('#slider').removeAttribute('aria-label')")
    assert any("label" in fault for fault in opened.faults())


def test_the_gallery_sorts(visit: Callable[..., Visit], scenes: SceneReport) -> None:
    page = visit().page
    gallery = scenes.document.gallery
    by_pq = [item["image_id"] for item in sorted(gallery, key=lambda item: item["pq"])]
    assert shown_ids(page) == by_pq and page.locator("#picture-title").inner_text() == f"Image {by_pq[0]}"
    page.locator("#order").select_option("changed")
    changed = sorted(sorted(gallery, key=lambda i: by_pq.index(i["image_id"])), key=lambda item: -abs(item["change"]))
    assert sorted(shown_ids(page)) == sorted(by_pq)
    assert [abs(i["change"]) for i in changed] == [
        abs(next(i for i in gallery if i["image_id"] == image)["change"]) for image in shown_ids(page)
    ]
    page.locator("#order").select_option("class")
    category = int(page.locator("#class").input_value())
    failing = [
        sum(s[1] == category and s[3] in (1, 2) for s in [*item["segments"]["truth"], *item["segments"]["prediction"]])
        for image in shown_ids(page)
        for item in gallery
        if item["image_id"] == image
    ]
    assert failing and min(failing) > 0 and failing == sorted(failing, reverse=True)


def test_the_strip_is_walked_by_arrow_keys(visit: Callable[..., Visit]) -> None:
    page = visit().page
    ids = shown_ids(page)
    page.locator("#order").focus()
    page.keyboard.press("Tab")
    for key, image in (("ArrowRight", ids[1]), ("ArrowRight", ids[2]), ("End", ids[-1]), ("Home", ids[0])):
        page.keyboard.press(key)
        assert page.locator("#picture-title").inner_text() == f"Image {image}"
        assert page.evaluate("document.activeElement.getAttribute('aria-current')") == "true"
    assert page.locator("#strip button[tabindex='0']").count() == 1


def test_the_slider_goes_from_the_image_to_the_errors(visit: Callable[..., Visit]) -> None:
    page = visit().page
    slider = page.locator("#slider")
    assert slider.get_attribute("aria-valuetext") == "truth on the left, prediction on the right"
    slider.focus()
    for key, value, words in (
        ("ArrowRight", "160", "truth on the left, prediction on the right"),
        ("PageUp", "200", "prediction"),
        ("End", "300", "errors"),
        ("ArrowLeft", "290", "prediction on the left, errors on the right"),
        ("Home", "0", "image"),
    ):
        page.keyboard.press(key)
        assert (slider.input_value(), slider.get_attribute("aria-valuetext")) == (value, words)
    assert words in (page.locator("#stage").get_attribute("aria-label") or "")
    page.locator("#stops button").nth(1).press("Enter")
    assert slider.input_value() == "100"


def test_the_line_is_dragged(visit: Callable[..., Visit]) -> None:
    page = visit().page
    page.locator("#stage").scroll_into_view_if_needed()
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 60)
    page.mouse.up()
    assert abs(int(page.locator("#slider").input_value()) - 175) <= 1
    assert page.locator("#right-side").evaluate("side => side.style.clipPath").startswith("inset(0px 0px 0px 25")


def test_a_segment_under_the_pointer_says_what_it_is(visit: Callable[..., Visit], scenes: SceneReport) -> None:
    """At many points of the truth: the script reads from the picture what was written into it."""
    page = visit().page
    sample = scenes.samples[shown_ids(page)[0]]
    page.locator("#stops button").nth(1).click()
    page.wait_for_selector("#segments button")
    page.locator("#stage").scroll_into_view_if_needed()
    box = page.locator("#stage").bounding_box()
    height, width = sample.segment_map.shape
    names = {c.id: c.name for c in scenes.document.categories.entries}
    for y in range(5, height, 24):
        for x in range(5, width, 24):
            page.mouse.move(box["x"] + box["width"] * (x + 0.5) / width, box["y"] + box["height"] * (y + 0.5) / height)
            number = int(sample.segment_map[y, x])
            wanted = names[sample.segments[number - 1].category_id] if number else "void"
            text = page.locator("#tip").inner_text()
            assert text.startswith(wanted) and (not number or f"id {number} " in f"{text} ")
    assert page.locator("#highlight").evaluate("canvas => canvas.width") >= width
    page.mouse.move(0, 0)
    assert page.locator("#tip").is_hidden()


def test_segments_are_walked_by_arrow_keys_and_highlighted(visit: Callable[..., Visit]) -> None:
    page = visit().page
    page.wait_for_selector("#segments button")
    drawn = "document.querySelector('#highlight').width"
    assert page.evaluate(drawn) == 300, "a canvas that nothing was drawn on"
    page.locator("#segments button").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement === document.querySelectorAll('#segments button')[1]")
    assert page.evaluate(drawn) == 480
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert "IoU" in label and "pixels" in label


def test_the_switch_shows_the_map_without_attention(visit: Callable[..., Visit], scenes: SceneReport) -> None:
    page = visit().page
    item = next(i for i in scenes.document.gallery if i["image_id"] == shown_ids(page)[0])
    layer = "document.querySelector('#left-side .over').src"
    page.locator("#stops button").nth(2).click()
    before = page.evaluate(layer)
    switch = page.locator("#switch")
    switch.focus()
    page.keyboard.press("Space")
    assert switch.get_attribute("aria-checked") == "false" and page.evaluate(layer) != before
    note = page.locator("#switch-note").inner_text()
    assert f"PQ {item['unguided_pq']:.1f} instead of {item['pq']:.1f}" in note
    assert "without attention" in page.locator("#segments-title").inner_text()
    page.keyboard.press("Enter")
    assert switch.get_attribute("aria-checked") == "true" and page.evaluate(layer) == before
    page.locator("#map").select_option("pam4")
    assert page.locator("#range").inner_text().split() == [f"{end:.2f}" for end in item["ranges"]["pam4"]]


def test_the_table_sorts_and_searches(visit: Callable[..., Visit], scenes: SceneReport) -> None:
    page = visit().page
    rows = page.locator("#classes tbody tr:visible")
    names = lambda: [rows.nth(n).locator("th").inner_text() for n in range(rows.count())]  # noqa: E731
    page.locator("#classes thead button", has_text="PQ").click()
    per_class = sorted(scenes.document.per_class, key=lambda row: -row["PQ"])
    assert names() == [row["name"] for row in per_class]
    page.locator("#classes thead button", has_text="PQ").press("Enter")
    assert names() == [row["name"] for row in reversed(per_class)]
    assert page.locator("#classes th[aria-sort]").get_attribute("aria-sort") == "ascending"
    page.locator("#classes thead button", has_text="class").click()
    assert names() == sorted(row["name"] for row in per_class)
    page.locator("#search").fill("STUFF r")
    assert set(names()) == {"grass", "road", "water"}
    assert page.locator("#search-status").inner_text() == "3 of 13 classes"


def test_texts_from_outside_do_nothing(visit: Callable[..., Visit], tmp_path: Path) -> None:
    file = tmp_path / "evil.html"
    file.write_text(render_report(scene_report(4, shown=2, name=EVIL).document), encoding="utf-8")
    page = visit(file).page
    page.wait_for_selector("#segments button")
    assert EVIL in page.locator("#classes").inner_text()
    assert page.locator("img[src=x]").count() == 0


def test_a_script_without_its_hash_does_not_run(visit: Callable[..., Visit], path: Path, tmp_path: Path) -> None:
    file = tmp_path / "planted.html"
    planted = "<main><script>document.title = 'planted'</script><p id=p style='color: red' onclick='1'>text</p>"
    file.write_text(path.read_text(encoding="utf-8").replace("<main>", planted), encoding="utf-8")
    opened = visit(file)
    assert opened.page.title() == "shapes_smoke"
    assert opened.page.locator("#p").evaluate("p => getComputedStyle(p).color") != "rgb(255, 0, 0)"
    assert opened.complaints and all("Content Security Policy" in complaint for complaint in opened.complaints)
    opened.complaints.clear()


def test_without_a_script_figures_and_first_pictures_are_there(visit: Callable[..., Visit]) -> None:
    page = visit(java_script_enabled=False).page
    assert page.locator("figure.shot svg[data-layer=errors]:visible").count() == 3
    assert page.locator("#viewer").is_hidden() and page.locator("#search").is_hidden()
    assert page.locator("#classes tbody tr:visible").count() == 13


def test_the_page_of_a_linter_is_quiet_too(visit: Callable[..., Visit], tmp_path: Path) -> None:
    write_scenes(tmp_path / "raw", num_train=1, num_val=3, height=48, width=64)
    images, annotations = tmp_path / "raw/val", tmp_path / "raw/annotations"
    lint_data(str(images), f"{annotations}/panoptic_val.json", f"{annotations}/panoptic_val", out=str(tmp_path))
    opened = visit(tmp_path / "lint.html")
    assert opened.page.locator("svg.track").count() > 0 and opened.faults() == []


def test_the_page_of_a_certificate_is_quiet_too(visit: Callable[..., Visit], tmp_path: Path) -> None:
    certificate = {
        **dict.fromkeys(
            ("steps", "workers", "seed", "survived", "requested", "lost", "doubled", "steps_recomputed"), 3
        ),
        **dict.fromkeys(("goodput", "deviation"), 0.5),
        **dict.fromkeys(("is_protected", "holds", "identical", "earlier_differs"), True),
        "seconds": [20.0, 31.0],
        "machine": "2 CPUs",
        "date": "2026-01-01",
        "preset": "shapes_smoke",
        "left_out": [],
        "error": "",
        "by_kind": {"worker killed": {"faults": 3, "survived": 3, "recomputed": 3, "seconds": 9.0}},
        "hashes": {"weights": ["ab" * 32, "ab" * 32]},
        "lost_seconds": {"restarts": 8.0},
        "records": [],
    }
    file = tmp_path / "certificate.html"
    file.write_text(render_certificate(certificate, {"name": "shapes_smoke"}), encoding="utf-8")
    assert visit(file).faults() == []
