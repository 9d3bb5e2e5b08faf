"""Which files of a folder are which split."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from aunet.errors import InputError
from pipelines.data.importing.record import ImportItem
from pipelines.data.importing.val_share import splits_of
from pipelines.lint.raw_folder import VAL_SHARE, RawSplitPaths, chosen_for_val, find_splits


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


@given(st.sets(st.text(max_size=8), min_size=40, max_size=60), st.sets(st.text(max_size=8), max_size=60))
def test_images_that_are_added_move_none(names: set[str], added: set[str]) -> None:
    chosen = chosen_for_val(sorted(names))
    assert chosen == chosen_for_val(sorted(names, reverse=True))
    if 1 < len(chosen) < len(names) - 1:
        assert chosen_for_val(sorted(names | added)) & names == chosen


def test_a_fifth_is_chosen_and_never_all_or_none() -> None:
    names = [f"{n}.jpg" for n in range(1000)]
    assert len(chosen_for_val(names)) == pytest.approx(200, abs=40)
    pairs = [names[first : first + 2] for first in range(0, 1000, 2)]
    assert {len(chosen_for_val(pair)) for pair in pairs} == {1}
    assert {len(chosen_for_val(names[first : first + 3])) for first in range(900)} == {1, 2}


def test_the_chosen_are_those_of_a_share_of_an_import() -> None:
    items = [ImportItem(image_uri="", file_name=f"{n}.jpg", image_id=n) for n in range(500)]
    chosen = {item.file_name for item in splits_of(items, 1 / VAL_SHARE, val=True)}
    assert chosen_for_val([item.file_name for item in items]) == chosen
