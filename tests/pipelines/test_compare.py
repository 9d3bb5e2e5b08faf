"""`compare`: runs, models and folders of predictions, and what it says where they cannot be compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from aunet.data.coco_panoptic import decode_panoptic, encode_panoptic, measure_segments
from aunet.data.shapes import write_scenes
from aunet.errors import InputError
from pipelines.compare import Compared, compare
from pipelines.measuring.outcome_table import to_parquet
from pipelines.store.artifacts import Report
from pipelines.store.hashes import write_hashes
from pipelines.store.run_folder import ReportFolder, RunFolder
from tests.nights import matched
from tests.tiny import CATEGORIES

IMAGES = list(range(1, 13))
TAGS = {n: {"file_name": f"{'day' if n % 2 else 'night'}/{n}.png", "height": "10", "width": "10"} for n in IMAGES}


def write_report(folder: ReportFolder, iou: float, validation: str, *, images: list[int] = IMAGES) -> None:
    report = Report(uri=folder.document_uri, fingerprint="", metrics={}, html_uri="", overlays_uri="")
    folder.write(report, {"val_fingerprint": validation})
    outcomes = matched(images, len(CATEGORIES), iou)
    Path(folder.outcomes_uri).write_bytes(to_parquet(outcomes, TAGS, CATEGORIES))


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs with models, the second better by 10 points on the same split."""
    for name, iou in (("one", 0.7), ("other", 0.8)):
        run = RunFolder(str(tmp_path / name))
        run.write_config({})
        for file in ("model.safetensors", "config.json"):
            (tmp_path / name / "model").mkdir(exist_ok=True)
            (tmp_path / name / "model" / file).write_text(name)
        write_hashes(tmp_path / name / "model")
        write_report(run.report(), iou, "abc")
    return tmp_path / "one", tmp_path / "other"


def test_a_better_run(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    one, other = runs
    result = compare(str(one), str(other))
    plain = result.to_json()
    assert plain["verdict"] == "better" and plain["more_images"] is None and plain["images"] == 12
    for name in ("PQ", "PQ_th", "PQ_st"):
        assert set(plain[name]) == {"difference", "low", "high"} and plain[name]["difference"] == pytest.approx(10)
    assert plain["val_fingerprint"] == "abc" and plain["num_won"] == 12
    printed = capsys.readouterr().err
    assert "B is better than A: PQ +10.0 [" in printed and "disk" in printed
    assert compare(str(other), str(one)).to_json()["verdict"] == "worse"


def test_a_model_is_equal_to_itself(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    one, _ = runs
    assert compare(str(one), str(one / "model")).to_json()["verdict"] == "equal"
    assert "B and A are equal" in capsys.readouterr().err


def test_slices_and_tags(runs: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = runs
    (tmp_path / "tags.json").write_text(json.dumps({str(n): {"rain": str(n > 4)} for n in IMAGES}))
    result = compare(str(one), str(other), slice=("size", "folder", "rain"), tags=str(tmp_path / "tags.json"))
    cells = {(s["slice"], s["value"]): (s["images"], s["verdict"]) for s in result.to_json()["slices"]}
    assert cells == {
        ("size", "small"): (12, "better"),
        ("folder", "day"): (6, "better"),
        ("folder", "night"): (6, "better"),
        ("rain", "False"): (4, "undecided"),
        ("rain", "True"): (8, "better"),
    }
    with pytest.raises(InputError, match=r"--slice weather: no image has such a tag; .* folder, height, resolution"):
        compare(str(one), str(other), slice=("weather",))


def test_the_split_that_both_were_measured_on(runs: tuple[Path, Path]) -> None:
    one, other = runs
    write_report(RunFolder(str(other)).report(), 0.9, "def")
    with pytest.raises(InputError, match=r"validation data abc, .* on def: none is the same; run `evaluate"):
        compare(str(one), str(other))
    write_report(RunFolder(str(other)).report("abc"), 0.75, "abc")
    result = compare(str(one), str(other))
    assert result.overall.PQ.difference == pytest.approx(5) and result.val_fingerprint == "abc"


def test_what_was_not_measured(runs: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = runs
    Path(RunFolder(str(other)).report().outcomes_uri).unlink()
    with pytest.raises(InputError, match=r"no outcomes of an evaluation in .*other; run `evaluate PRESET --run"):
        compare(str(one), str(other))
    shutil.copytree(one / "model", tmp_path / "copied" / "model")
    with pytest.raises(InputError, match=r"copied; run `predict` with it, and compare the folders of predictions"):
        compare(str(one), str(tmp_path / "copied" / "model"))
    with pytest.raises(InputError, match=r"nothing: neither a run, a model nor a folder of predictions"):
        compare(str(one), str(tmp_path / "nothing"))


def test_other_images_and_annotations(runs: tuple[Path, Path]) -> None:
    one, other = runs
    write_report(RunFolder(str(other)).report(), 0.9, "abc", images=IMAGES[1:])
    with pytest.raises(InputError, match="different images: 11 and 12, among them only once 1"):
        compare(str(one), str(other))


def predictions(folder: Path, raw: Path, shift: int) -> Path:
    """The ground truth, moved to the right, as predictions."""
    document = json.loads((raw / "annotations" / "panoptic_val.json").read_text())
    (folder / "panoptic").mkdir(parents=True)
    for annotation in document["annotations"]:
        name = annotation["file_name"]
        ids = np.roll(decode_panoptic((raw / "annotations" / "panoptic_val" / name).read_bytes()), shift, axis=1)
        (folder / "panoptic" / name).write_bytes(encode_panoptic(ids))
        areas = measure_segments(ids)
        annotation["segments_info"] = [s | {"area": areas[s["id"]][0]} for s in annotation["segments_info"]]
    (folder / "panoptic.json").write_text(json.dumps(document))
    return folder


def test_folders_of_predictions(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_scenes(raw, num_train=1, num_val=8, height=48, width=64)
    one, other = (predictions(tmp_path / f"by {shift}", raw, shift) for shift in (3, 1))
    truth = (str(raw / "annotations" / "panoptic_val.json"), str(raw / "annotations" / "panoptic_val"))
    with pytest.raises(InputError, match=r"predictions are compared by ground truth; give --gt-json and --gt-dir"):
        compare(str(one), str(other))
    result = compare(str(one), str(other), *truth, slice=("relative-size", "resolution"))
    assert isinstance(result, Compared) and result.overall.verdict == "better" and result.overall.images == 8
    assert ("resolution", "64×48") in {(by, value) for by, value, _ in result.slices}
    assert compare(str(one), str(one), *truth).overall.verdict == "equal"
