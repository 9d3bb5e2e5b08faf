"""Every format on generated scenes: written, imported, and compared with the original pixel by pixel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.import_data import ImportedData, import_data
from tests.importers.cases import EXACT, OUTLINES, WITHOUT_CROWDS
from tests.importers.scenes import Original, assert_equal_pixels, generated, imported_quality


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return generated(tmp_path_factory.mktemp("original"))


def imported(format: str, out: Path, **options: Any) -> ImportedData:
    plain: dict[str, Any] = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    return import_data(format, str(out), workers=1, **plain)


@pytest.mark.parametrize("name", EXACT)
def test_what_carries_everything_gives_equal_pixels(name: str, original: Original, tmp_path: Path) -> None:
    format, write, options = EXACT[name]
    write(original, tmp_path / "source")
    result = imported(format, tmp_path / "out", **options(original, tmp_path / "source"))
    assert result.images == len(original.samples) and result.exit_code == 0
    assert result.segments == sum(len(sample.segments) for sample in original.samples)
    assert_equal_pixels(original, tmp_path / "out")
    metrics = imported_quality(original, tmp_path / "out")
    assert metrics["PQ"] == metrics["PQ_th"] == metrics["PQ_st"] == 100


@pytest.mark.parametrize("name", WITHOUT_CROWDS)
def test_what_has_no_crowds_keeps_the_quality(name: str, original: Original, tmp_path: Path) -> None:
    format, write, options = WITHOUT_CROWDS[name]
    write(original, tmp_path / "source")
    result = imported(format, tmp_path / "out", **options(original, tmp_path / "source"))
    assert result.images == len(original.samples)
    assert imported_quality(original, tmp_path / "out")["PQ"] == 100
    document = json.loads((tmp_path / "out/annotations/panoptic_train.json").read_text())
    assert not any(s["iscrowd"] for entry in document["annotations"] for s in entry["segments_info"])


@pytest.mark.parametrize("name", OUTLINES)
def test_what_has_no_holes_loses_what_shows_through_them(
    name: str, original: Original, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    format, write, options = OUTLINES[name]
    write(original, tmp_path / "source")
    result = imported(format, tmp_path / "out", **options(original, tmp_path / "source"))
    metrics = imported_quality(original, tmp_path / "out")
    with capsys.disabled():
        print(f"\n{name}: PQ {metrics['PQ']:.2f} RQ {metrics['RQ']:.2f}, {result.changed}")
    assert result.images == len(original.samples)
    assert 95 < metrics["PQ"] < 100
