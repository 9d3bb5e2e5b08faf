"""`import-data` as people call it: options, messages, exit codes, the last line of stdout."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aunet.errors import InputError
from jobs.importing_options import FORMATS as NAMES, ImportDataOptions
from pipelines.data.importing.formats import FORMATS, SourceOptions
from pipelines.data.importing.record import CHANGES
from pipelines.import_data import import_data
from tests.commands import ROOT, jobs_here
from tests.importers.scenes import generated
from tests.importers.writers import write_labelme


def test_the_command_line_has_the_formats_and_their_options() -> None:
    assert set(NAMES) == set(FORMATS)
    options = {name.removeprefix("--").replace("-", "_") for name in ImportDataOptions.named()}
    assert set(SourceOptions.__dataclass_fields__) <= options


def test_every_change_is_explained_on_the_page() -> None:
    page = (ROOT / "docs/importing.md").read_text()
    assert [rule for rule in CHANGES if f"| `{rule}` |" not in page] == []


def test_the_last_line_of_stdout(tmp_path: Path) -> None:
    original = generated(tmp_path / "original", 3)
    write_labelme(original, tmp_path / "in", masks=True)
    words = ["import-data", "labelme", "--data", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    result, log = jobs_here(tmp_path, *words, "--things", original.things)
    assert (result["images"], result["changed"], result["out"]) == (3, {}, str(tmp_path / "out"))
    assert "3 images (3 in train)" in log and result["defects"][0]["rule"] == "class-few"
    _, log = jobs_here(tmp_path, *words, "--things", "unicorn", rc=2)
    assert "--things unicorn: not a label" in log and "Traceback" not in log


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["coco", "--out", "o"], "import-data coco: --images is missing"),
        (["labelme", "--out", "o", "--data", "d", "--palette", "p"], "--palette is not for this format"),
        (["labelme", "--data", "d"], "--out is missing"),
        (["labelm", "--out", "o"], "did you mean labelme?"),
        ([], "no format given; choose one of coco, masks"),
        (["labelme", "--out", "o", "--data", "gone"], "gone: no such folder"),
        (["labelme", "--out", "o", "--data", "d", "--split", "a/b"], "--split = 'a/b': not a name"),
        (["labelme", "--out", "o", "--data", "d", "--val-share", "2"], "--val-share 2.0 is not between 0 and 1"),
        (["labelme", "--out", "o", "--data", "d", "--workers", "0"], "--workers 0 is below 1"),
        (["labelme", "--out", "o", "--data", "d", "--split", "a", "--val-share", "0.5"], "give one of the two"),
        (["labelme", "--out", "d/x", "--data", "d"], "is inside d, which is read"),
        (["cvat", "--out", "o", "--images", "i"], "CVAT for images 1.1"),
        (["masks", "--out", "o", "--images", "i", "--annotations", "a"], "--palette or --categories is missing"),
        (["voc", "--out", "o", "--data", "gone"], "gone: no such folder"),
        (["ade20k", "--out", "o", "--data", "empty"], "no objectInfo150.txt"),
        (["mapillary", "--out", "o", "--data", "gone"], "gone/training: no such folder"),
        (["cityscapes", "--out", "o", "--images", "empty", "--annotations", "gone.json"], "gone: no such folder"),
        (["coco", "--out", "o", "--images", "empty", "--annotations", "gone.json"], "gone.json: no such file"),
    ],
)
def test_mistakes_are_answered_in_a_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    _, log = jobs_here(tmp_path, "import-data", *words, rc=2)
    assert message in log and "Traceback" not in log


def test_a_share_that_leaves_a_split_empty_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    write_labelme(generated(tmp_path / "original", 4), tmp_path / "in", masks=True)

    def imported(share: float) -> dict[str, int]:
        return import_data(
            "labelme", str(tmp_path / "out"), data=str(tmp_path / "in"), things=["all"], val_share=share, workers=1
        ).splits

    for share, empty in ((0.001, "val"), (0.999, "train")):
        with pytest.raises(InputError) as caught:
            imported(share)
        message = rf"--val-share {share}: of 4 annotated images.* in {empty}; give --val-share (0\.\d+), or add images"
        assert (match := re.fullmatch(message, str(caught.value))) and not (tmp_path / "out").exists()
        assert min(imported(float(match[1])).values()) > 0
        shutil.rmtree(tmp_path / "out")
    for path in sorted((tmp_path / "in").rglob("*.json"))[1:]:
        path.unlink()
    with pytest.raises(InputError, match=r"of 1 annotated image, .* in (val|train); add images, or leave it out"):
        imported(0.5)


def test_what_lint_finds_in_the_result_is_told(tmp_path: Path) -> None:
    original = generated(tmp_path / "original", 2)
    write_labelme(original, tmp_path / "in", masks=True)
    path = next((tmp_path / "in").rglob("*.jpg"))
    with Image.open(path) as picture:
        picture.convert("CMYK").save(path)
    result = import_data("labelme", str(tmp_path / "out"), data=str(tmp_path / "in"), things=[original.things])
    assert result.exit_code == 2 and "image-cmyk" in {defect["rule"] for defect in result.defects}


def test_splits_of_one_data_set_have_the_same_ids(tmp_path: Path) -> None:
    original = generated(tmp_path / "original", 2)
    write_labelme(original, tmp_path / "in", masks=True)
    first = import_data("labelme", str(tmp_path / "out"), data=str(tmp_path / "in"), things=[original.things])
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "val.png")
    second = import_data(
        "labelme",
        str(tmp_path / "out"),
        data=str(tmp_path / "in"),
        categories=str(tmp_path / "out/annotations/panoptic_train.json"),
        split="val",
    )
    assert first.categories == second.categories
    with pytest.raises(InputError, match="the file says which are things"):
        import_data("labelme", "o", data=str(tmp_path / "in"), categories="c.json", things=["all"])
