"""Images in shards: each has one name, which depends on nothing but the data."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines.measuring import prepared_images as module
from pipelines.measuring.prepared_images import PreparedImages, prepared_images
from tests.preparing import config_of, preprocess_here


@pytest.fixture
def uri(raw: Path) -> str:
    return preprocess_here(config_of(raw, rows_per_shard=2)).uri


def test_every_image_of_every_split_has_a_name_and_its_content(uri: str, raw: Path) -> None:
    images = pickle.loads(pickle.dumps(PreparedImages(uri)))
    files = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in raw.glob("*/*.jpg")}
    assert {name: images.content(name) for name in images.rows} == files and len(files) == 7


def test_a_folder_is_no_prepared_data(uri: str, raw: Path) -> None:
    assert prepared_images(str(raw)) is None
    assert isinstance(prepared_images(uri), PreparedImages)


def pretend(monkeypatch: pytest.MonkeyPatch, **splits: list[tuple[str, int]]) -> None:
    """Splits with these file names and image ids."""

    def reader(uri: str, split: str) -> Any:
        names, ids = zip(*splits[split], strict=True)
        return SimpleNamespace(file_names=list(names), image_ids=list(ids))

    monkeypatch.setattr(module.Manifest, "load", lambda uri: SimpleNamespace(splits=splits))
    monkeypatch.setattr(module, "ShardReader", reader)


def test_names_that_are_missing_or_double_are_the_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, train=[("a.jpg", 1), ("a.jpg", 2), ("", 3)], val=[("a.jpg", 1), ("b/c.jpg", 9)])
    images = PreparedImages("u")
    assert list(images.rows) == ["train/1", "train/2", "train/3", "val/a.jpg", "val/b/c.jpg"]
    assert images.image_ids == {"train/2": 2, "train/3": 3, "val/b/c.jpg": 9}  # id 1 means two images


def test_a_name_that_leaves_its_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, val=[("../../x.jpg", 1)])
    with pytest.raises(
        InputError, match=r"u: a file name '\.\./\.\./x\.jpg' leaves its folder; run `preprocess` again"
    ):
        PreparedImages("u")


def test_a_damaged_shard_is_named(uri: str) -> None:
    images = PreparedImages(uri)
    shard = next((Path(uri).parent / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"shard is damaged .*run `verify"):
        list(map(images.content, images.rows))
