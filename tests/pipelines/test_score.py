"""Two folders in, a table and a result out; everything wrong with them in one line each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.score import score
from tests.commands import ROOT
from tests.pipelines.score_folders import CATEGORIES, MAPS, Folder, annotation, score_of


@pytest.fixture
def true(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "true", MAPS)


@pytest.fixture
def predicted(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "predicted", MAPS)


def test_metrics_at_top_level_rows_per_class_and_a_table(
    true: Folder, predicted: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    predicted.paint(1, [[11, 11, 11, 29], [29, 29, 29, 29]])
    result = score_of(true, predicted)
    assert (result["PQ"], result["RQ"], result["PQ_th"]) == pytest.approx((100 * (0.875 + 1 + 0.8) / 3, 100, 93.75))
    assert result["PQ_st"] == result["SQ_st"] == pytest.approx(80)
    assert [row["PQ"] for row in result["per_class"]] == pytest.approx([87.5, 100, 80])
    assert result["images"] == 2 and json.loads(json.dumps(result)) == result
    printed = capsys.readouterr()
    assert printed.out == ""
    for words in ("2 images", "all", "things", "stuff", "road", "87.5", "89.2"):
        assert words in printed.err


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("coco_panoptic_mini", "panoptic_val2017"),
        ("coco_panoptic_mini", "panoptic_train2017"),
        ("camvid_panoptic", "panoptic_val"),
    ],
)
def test_a_folder_against_itself_is_100(sample_data: Path, folder: str, name: str) -> None:
    annotations = sample_data / folder / "annotations"
    files = annotations / f"{name}.json", annotations / name
    result = score(*files, *files).to_json()
    keys = [k + group for group in ("", "_th", "_st") for k in ("PQ", "SQ", "RQ")]
    assert [result[k] for k in keys] == pytest.approx([100] * 9)
    assert result["images"] == len(json.loads((annotations / f"{name}.json").read_text())["annotations"])


def test_predictions_for_other_images_are_ignored(true: Folder, tmp_path: Path) -> None:
    assert score_of(true, Folder(tmp_path / "more", {**MAPS, 3: [[77]]}))["PQ"] == 100


def test_what_panopticapi_accepts_is_accepted(true: Folder, predicted: Folder) -> None:
    """Names as image ids, predictions without categories, crowds of stuff, repeated names."""
    for folder in (true, predicted):
        for entry in folder.content["annotations"]:
            entry["image_id"] = f"frame_{entry['image_id']}"
    predicted.content.pop("categories")
    annotation(true)["segments_info"][1]["iscrowd"] = 1
    true.content["categories"] = [{**entry, "name": "same"} for entry in CATEGORIES]
    for folder in (true, predicted):
        folder.save()
    result = score_of(true, predicted)
    assert (result["PQ"], result["images"]) == (100, 2)


def test_threads_are_at_least_one(true: Folder, predicted: Folder) -> None:
    paths = (true.json, true.dir, predicted.json, predicted.dir)
    assert score(*paths, workers=1).to_json() == score(*paths, workers=3).to_json()
    with pytest.raises(InputError, match="--workers 0 is below 1; leave it out to use every CPU"):
        score(*paths, workers=0)


def test_scoring_does_without_torch() -> None:
    code = "import sys, pipelines.score; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "False\n"


Break = Callable[[Folder, Folder], object]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t, p: p.json.unlink(), "--pred-json .*: no such file; put it there"),
        (lambda t, p: t.json.write_text("{"), "--gt-json .*: not JSON .*; fetch or write the file again"),
        (lambda t, p: p.json.write_text("[]"), "--pred-json .*: holds a list, not an object; fetch"),
        (lambda t, p: p.json.write_text("-1"), "--pred-json .*: holds a number, not an object; fetch"),
        (lambda t, p: p.json.write_text("{}"), "--pred-json .*: no list 'annotations'; fetch"),
        (lambda t, p: t.content.pop("categories"), "--gt-json .*: no list 'categories'; fetch"),
        (lambda t, p: t.content.update(annotations=[]), "`annotations` is empty; there is nothing to score"),
        (lambda t, p: p.dir.rename(p.dir.parent / "gone"), "--pred-dir .*: no such folder"),
        (lambda t, p: (p.dir / "1.png").unlink(), r"image 1 \(1.png\): prediction: 1.png: missing in .*; add it"),
        (lambda t, p: (t.dir / "2.png").unlink(), r"image 2 \(2.png\): ground truth: 2.png: missing in .*; add it"),
        (lambda t, p: (p.dir / "1.png").write_bytes(b"no"), r"image 1 .*prediction: .*1.png: not a picture"),
        (lambda t, p: p.content["annotations"].pop(), r"no prediction for image 2 \(2.png\); add an annotation"),
        (
            lambda t, p: annotation(p).pop("file_name"),
            r"panoptic.json: annotations\[0\]: file_name missing or wrong in .*; complete or drop the entry",
        ),
        (
            lambda t, p: annotation(p)["segments_info"][0].pop("id"),
            r"panoptic.json: image 1: segments_info\[0\]: id missing or wrong in .*; complete",
        ),
        (
            lambda t, p: p.content["annotations"].append(annotation(p)),
            r"annotations\[2\] is another one of image 1; keep one",
        ),
        (lambda t, p: annotation(p)["segments_info"].pop(), r"image 1 .*prediction: id 29 is in the map \(PNG\)"),
        (lambda t, p: annotation(t)["segments_info"].pop(), r"image 1 .*ground truth: id 29 is in the map \(PNG\)"),
        (
            lambda t, p: annotation(p)["segments_info"].append({"id": 7, "category_id": 1}),
            r"image 1 .*prediction: segment 7 is listed \(JSON\) but has no pixel",
        ),
        (
            lambda t, p: annotation(t)["segments_info"].append({"id": 7, "category_id": 1}),
            r"image 1 .*ground truth: segment 7 is listed \(JSON\) but has no pixel",
        ),
        (
            lambda t, p: annotation(p)["segments_info"][0].update(category_id=8),
            "image 1 .*prediction: segment 11 has unknown category_id 8",
        ),
        (lambda t, p: p.paint(2, [[100_001, 100_001], [0, 35]]), "image 2 .*prediction is 2×2 pixels, ground truth"),
    ],
)
def test_each_problem_is_one_line(true: Folder, predicted: Folder, spoil: Break, message: str) -> None:
    spoil(true, predicted)
    for folder in (true, predicted):
        if folder.json.exists() and folder.json.read_text().startswith('{"'):
            folder.save()
    with pytest.raises(InputError, match=message) as error:
        score_of(true, predicted)
    assert not any("\n" in problem for problem in error.value.problems)


def test_all_problems_come_at_once_and_no_more_than_twenty(true: Folder, tmp_path: Path) -> None:
    many = Folder(tmp_path / "many", {n: [[1]] for n in range(30)})
    few = Folder(tmp_path / "few", {n: [[1]] for n in range(4)})
    (few.dir / "2.png").unlink()
    few.paint(3, [[2]])
    with pytest.raises(InputError) as error:
        score_of(many, few)
    problems = error.value.problems
    assert len(problems) == 21 and problems[-1] == "… and 9 more"
