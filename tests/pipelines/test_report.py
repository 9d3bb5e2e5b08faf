"""`report`: a report in the terminal, or in plain lines where there is none."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from aunet.errors import InputError
from pipelines.pages.half_blocks import half_blocks
from pipelines.pages.pictures import encode_png
from pipelines.report import report
from pipelines.store import storage
from pipelines.store.artifacts import Report
from pipelines.store.layout import Store
from pipelines.store.run_folder import ReportFolder
from tests.pipelines.pages.scene_reports import scene_report


@pytest.fixture
def folder() -> ReportFolder:
    """The report of a run in the store."""
    document = scene_report(8, shown=1).document
    folder = Store.here().run("shapes-1").report()
    written = Report(
        uri=folder.document_uri,
        fingerprint="f",
        metrics=document.metrics,
        html_uri=folder.html_uri,
        overlays_uri=folder.overlays_uri,
    )
    assert document.comparison
    plain: dict[str, Any] = {
        "metrics": document.metrics,
        "per_class": document.per_class,
        "images": 8,
        "champion": "models:/shapes@champion (version 3)",
        "comparison": document.comparison.to_json(),
    }
    for number in range(3):
        picture = encode_png(np.full((20, 60, 3), (250, 90 * number, 10), np.uint8))
        storage.write_bytes(storage.join(folder.overlays_uri, f"{number:012d}.png"), picture)
    folder.write(written, plain)
    return folder


def shown(run: str, **options: Any) -> tuple[str, dict[str, Any]]:
    """The lines for people, and the result."""
    stream = io.StringIO()
    result = report(run, Console(file=stream, width=90, **options))
    return stream.getvalue(), result.to_json()


@pytest.mark.parametrize("by_name", [True, False])
def test_plain_lines_where_there_is_no_terminal(folder: ReportFolder, by_name: bool) -> None:
    text, result = shown("shapes-1" if by_name else storage.parent(folder.document_uri))
    assert re.search(r"(Better than|Undecided).*champion", text) and "models:/shapes@champion (version 3)" in text
    assert "mountain" in text and f"{result['PQ']:.1f}" in text
    assert "▀" not in text and "\x1b" not in text
    assert f"page  {folder.html_uri}" in text and text.count("picture  ") == 2
    assert result["report"]["html_uri"] if "report" in result else result["html_uri"] == folder.html_uri
    assert result["verdict"].startswith(text.splitlines()[0])


def test_pictures_in_a_terminal(folder: ReportFolder) -> None:
    text, _ = shown("shapes-1", force_terminal=True, color_system="truecolor")
    assert text.count("▀") == 2 * 90 * 15, "two pictures of 20×60 pixels, 90 columns wide"
    assert "38;2;250;0;10;48;2;250;0;10" in text


def test_colours_are_those_of_the_picture() -> None:
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0, 1], picture[1, 2] = (255, 0, 0), (0, 0, 255)
    text = half_blocks(encode_png(picture), 3)
    assert text.plain == "▀▀▀"
    assert [str(span.style) for span in text.spans] == [
        "rgb(0,0,0) on rgb(0,0,0)",
        "rgb(255,0,0) on rgb(0,0,0)",
        "rgb(0,0,0) on rgb(0,0,255)",
    ]


def test_a_first_model_and_missing_pictures(folder: ReportFolder, tmp_path: Path) -> None:
    storage.delete(folder.overlays_uri)
    plain = {"metrics": {}, "per_class": [], "images": 1}
    existing = folder.existing_report()
    folder.write(existing, plain)
    text, result = shown("shapes-1")
    assert text.startswith(f"First model: PQ {result['PQ']:.1f}\nMeasured on 1 validation image; no champion")
    assert "picture" not in text


def test_a_run_without_a_report_is_named_with_its_cure() -> None:
    with pytest.raises(InputError, match=r"shapes-9.*no report; run `evaluate` on this run first"):
        report("shapes-9")
