"""Everything that has a hash is read again, and what is damaged is named, down to the row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.data.manifest import Manifest
from pipelines.data.shards import ShardReader
from pipelines.store import storage
from pipelines.training.checkpoint import write_hashes
from pipelines.verify import verify
from tests.preparing import config_of, preprocess_here


@pytest.fixture
def prepared(raw: Path) -> Path:
    return Path(preprocess_here(config_of(raw, rows_per_shard=4)).uri)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "store" / "runs" / "one" / "model"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    write_hashes(folder)
    return folder


def shard_of(prepared: Path) -> tuple[Path, bytes]:
    """A shard of three rows, and the picture of its second."""
    info = Manifest.load(str(prepared)).splits["train"].shards[0]
    assert info.num_rows >= 2
    return prepared.parent / "shards" / info.name, ShardReader(str(prepared), "train").row(1)["image"]


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_what_is_whole_is_whole(prepared: Path, model: Path) -> None:
    data = verify(str(prepared))
    shards = list((prepared.parent / "shards").iterdir())
    assert (data.problems, data.exit_code) == ([], 0) and data.num_files == len(shards) + 2, "and two indexes"
    assert data.num_bytes > sum(path.stat().st_size for path in shards)
    assert verify(str(model)).num_files == verify(str(model.parent)).num_files == 2
    everything = verify(storage.store_root())
    assert everything.num_files == data.num_files + 2 and everything.problems == []


def test_a_damaged_picture_is_reported_with_its_row(prepared: Path) -> None:
    path, picture = shard_of(prepared)
    flip(path, path.read_bytes().index(picture) + 50)
    result = verify(str(prepared))
    plain = result.to_json()
    assert list(plain) == ["uri", "files", "bytes", "damaged", "problems"] and result.exit_code == 2
    assert plain["damaged"] == [
        {"uri": str(path), "problem": "in row 1: its SHA-256 is not the recorded one", "rows": (1,)}
    ]
    assert plain["problems"][0].endswith("; delete it, run `preprocess` again")
    path.unlink()
    assert verify(str(prepared)).damaged[0].problem == "missing"


def test_deleted_and_prepared_again_it_is_whole(prepared: Path, raw: Path) -> None:
    path, _ = shard_of(prepared)
    before = path.read_bytes()
    path.unlink()
    preprocess_here(config_of(raw, rows_per_shard=4))
    assert path.read_bytes() == before and verify(str(prepared)).problems == []


def test_damage_without_rows(prepared: Path, model: Path) -> None:
    path, _ = shard_of(prepared)
    path.write_bytes(path.read_bytes()[:-10])
    index = next(prepared.glob("val-*.index.parquet"))
    flip(index, 100)
    flip(model / "model.safetensors", 0)
    rows = {damage.uri: damage.rows for damage in verify(storage.store_root()).damaged}
    assert rows == {str(path): (), str(index): (), str(model / "model.safetensors"): ()}


def test_a_damaged_manifest_and_a_damaged_list(prepared: Path, model: Path) -> None:
    manifest = prepared / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"num_images": 5', '"num_images": 6'))
    (model / "sha256.json").write_text(json.dumps(["model.safetensors"]))
    first, second = verify(storage.store_root()).damaged
    assert first.uri == str(prepared) and "its SHA-256 does not" in first.problem
    assert second.uri == str(model)


def test_a_bucket_is_read_alike(prepared: Path, s3: str) -> None:
    storage.upload_folder(prepared.parent, storage.join(s3, "prepared"))
    copy = storage.join(s3, "prepared", prepared.name)
    assert verify(copy).num_files == verify(str(prepared)).num_files
    path, _ = shard_of(prepared)
    storage.delete(storage.join(s3, "prepared/shards", path.name))
    assert verify(copy).damaged[0].problem == "missing"


def test_nothing_to_verify(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no manifest\.json and no sha256\.json below it"):
        verify(str(tmp_path / "empty"))
    with pytest.raises(InputError, match="no such folder"):
        verify(str(tmp_path / "nowhere"))
