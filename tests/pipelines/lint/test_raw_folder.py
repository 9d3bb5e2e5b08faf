"""Which files of a folder are which split."""

from __future__ import annotations

from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.lint.raw_folder import RawSplitPaths, chosen_for_val, find_splits


def make(root: Path, names: list[str], images: list[str]) -> str:
    for name in names:
        (root / "annotations" / f"panoptic_{name}").mkdir(parents=True)
        (root / "annotations" / f"panoptic_{name}" / "panoptic_x.json").touch()
        (root / "annotations" / f"panoptic_{name}.json").touch()
    for path in images:
        (root / path).mkdir(parents=True)
        (root / path / "1.jpg").touch()
    return str(root)


def paths(name: str, images: str) -> RawSplitPaths:
    return RawSplitPaths(images, f"annotations/panoptic_{name}.json", f"annotations/panoptic_{name}")


def test_splits_by_their_names(tmp_path: Path) -> None:
    root = make(tmp_path / "a", ["train", "val"], ["train", "val"])
    assert find_splits(root) == (paths("train", "train"), paths("val", "val"))
    root = make(tmp_path / "b", ["train2017", "val2017"], ["images/train2017", "images/val2017"])
    assert find_splits(root) == (paths("train2017", "images/train2017"), paths("val2017", "images/val2017"))
    root = make(tmp_path / "c", ["all"], ["images"])
    assert find_splits(root) == (paths("all", "images"), None)


def test_what_is_no_such_folder_is_told_with_a_cure(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    cases = {
        str(tmp_path / "nowhere"): "no such folder; create it or correct the path",
        str(empty): r"no annotations/panoptic_\*.json there; give a folder in COCO panoptic format.*import-data",
        make(
            tmp_path / "a", ["train"], ["photos"]
        ): "no images of split train, in none of train, images/train, images;",
        make(
            tmp_path / "b", ["train", "val", "val2"], ["train", "val"]
        ): "splits train, val, val2, of which one should",
        make(tmp_path / "c", ["train", "test"], ["train", "test"]): "splits test, train, of which one should begin",
    }
    for root, message in cases.items():
        with pytest.raises(InputError, match=message):
            find_splits(root)


def test_a_validation_split_stays_what_it_is() -> None:
    names = [f"{n}.jpg" for n in range(100)]
    chosen = chosen_for_val(names)
    assert len(chosen) == 20 and chosen == chosen_for_val(names[::-1])
    assert len(chosen & chosen_for_val([*names, "new.jpg"])) >= 19
    assert [len(chosen_for_val(names[:count])) for count in (2, 3, 9, 10)] == [1, 1, 1, 2]
