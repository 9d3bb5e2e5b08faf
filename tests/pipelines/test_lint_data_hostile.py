"""Names that command a terminal or look alike, and disks that are full."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from aunet.data.coco_json import PanopticAnnotations
from aunet.data.defects import Defect
from jobs.__main__ import main
from pipelines.lint.page import render_lint
from pipelines.lint.split import SplitLint, SplitUris
from pipelines.lint_data import LintResult, _print, lint_data
from pipelines.pages.tables import print_quality
from tests.disks import small_disk
from tests.pipelines.lint_plants import Raw


def test_categories_that_differ_only_in_normalisation(raw: Path) -> None:
    """They look the same in every message."""
    other = raw / "annotations/panoptic_val.json"
    document = json.loads(other.read_bytes())
    document["categories"][0]["name"] = "be\u0301be\u0301"
    other.write_text(json.dumps(document))
    Raw(raw).change(lambda w: w["categories"][0].update(name="b\u00e9b\u00e9"))
    result = lint_data(**Raw(raw).options, against_images=str(raw / "val"), against_panoptic_json=str(other)).to_json()
    (own,) = [d for d in result["defects"] if d["rule"] == "category-differs"]
    assert own["message"].endswith("; names differ only in Unicode normalisation (NFC, NFD)")


def test_no_name_commands_a_terminal_or_a_page(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;owned\x07\u202e[/red]"
    Raw(raw).change(lambda w: w["annotations"][1]["segments_info"][0].update(iscrowd=evil, id=evil))
    Raw(raw).change(lambda w: w["images"][2].update(file_name=evil))
    Raw(raw).change(lambda w: w["categories"][0].update(name="[/red]", color=evil))
    lint_data(**Raw(raw).options, out=str(tmp_path / "out"))
    shown = capsys.readouterr().err + (tmp_path / "out/lint.html").read_text()
    assert "[/red]" in shown
    assert not set(shown) & set("\x1b\x07\u202e")


def test_whatever_a_message_holds_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;owned\x07\u202e[/red]<script>"
    defects = (Defect(rule="file-unused", message=evil),)
    _print(LintResult(images=1, quarantined=0, classes=(), defects=defects), evil)
    row = {"name": evil, "isthing": 1, "PQ": 1.0, "SQ": 1.0, "RQ": 1.0, "tp": 1, "fp": 0, "fn": 0}
    metrics = {key + group: 1.0 for key in ("PQ", "SQ", "RQ") for group in ("", "_th", "_st")}
    print_quality(metrics, [row], "title")
    classes = [{"name": evil, "isthing": 1, "segments": 1, "crowds": 0, "images": 1, "pixels": 1}]
    uris = SplitUris(images="i", panoptic_json="j", panoptic_dir="d")
    annotations = PanopticAnnotations(source_name="p.json")
    page = render_lint(SplitLint(uris=uris, annotations=annotations, defects=list(defects), classes=classes))
    shown = capsys.readouterr().err
    assert shown.count("[/red]") == 3 and page.count("[/red]") == 2 and "<script>" not in page
    assert not set(shown + page) & set("\x1b\x07\u202e")


def test_a_full_disk_leaves_the_old_report(raw: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        out = str(disk.path / "lint")
        lint_data(**Raw(raw).options, out=out)
        before = disk.files()
        disk.fill(spare=8192)
        Raw(raw).jpg.unlink()
        words = [f"--{key.replace('_', '-')}={value}" for key, value in Raw(raw).options.items()]
        stdout = io.StringIO()
        assert main(["lint-data", *words, f"--out={out}"], stdout) == 1
        assert stdout.getvalue() == "" and disk.files() == before
        disk.free()
        assert lint_data(**Raw(raw).options, out=out).errors == 1
        assert disk.files() != before and sorted(disk.files()) == ["lint/lint.html", "lint/lint.json"]
