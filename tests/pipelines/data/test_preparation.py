"""What the tasks have made is brought together: pictures that are in both splits are named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.preparing import config_of, preprocess_here


def test_pictures_of_both_splits_are_named_and_accepted(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_of(raw, rows_per_shard=2)
    preprocess_here(config)
    assert capsys.readouterr().err == ""
    shutil.copy(raw / "val/000000.jpg", raw / "train/000001.jpg")
    for name in ("000003.jpg", "000004.jpg"):
        shutil.copy(raw / "val/000001.jpg", raw / "train" / name)
    assert preprocess_here(config).num_images == {"train": 5, "val": 2}
    assert capsys.readouterr().err.splitlines() == [
        "warning: the same pictures in data.train and data.val: 2, such as 000001.jpg of train and 000000.jpg of val; "
        "drop them from one of the two, `lint-data` with --against-images lists them [leak-exact]"
    ]
