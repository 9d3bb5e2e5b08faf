"""Everything that has a hash is read again, and what is damaged is named, down to the row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines.data.manifest import Manifest
from pipelines.data.shards import ShardReader
from pipelines.store import storage
from pipelines.store.hashes import write_hashes
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


def rewrite(prepared: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest as somebody does who computes its own SHA-256 anew."""
    path = prepared / "manifest.json"
    document = json.loads(path.read_text())
    del document["sha256"]
    change(document)
    plain = json.dumps(document, sort_keys=True)
    path.write_text(json.dumps({**document, "sha256": hashlib.sha256(plain.encode()).hexdigest()}))


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_rows", "x"),
        ("num_rows", -1),
        ("num_rows", True),
        ("num_rows", None),
        ("num_rows", 1.5),
        ("num_bytes", -1),
        ("name", "../../../etc/passwd"),
        ("name", "/etc/passwd"),
        ("sha256", "0"),
        ("sha256", 7),
    ],
)
def test_a_manifest_with_impossible_values_is_damage(prepared: Path, name: str, value: object) -> None:
    rewrite(prepared, lambda document: document["splits"]["train"]["shards"][0].update({name: value}))
    (damage,) = verify(str(prepared)).damaged
    assert damage.uri == str(prepared) and f"{name} = {value!r}" in damage.problem
    assert "delete it and run `preprocess` again" in damage.problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_images", 6),
        ("num_images", "5"),
        ("rows_sha256", "0" * 64),
        ("rows_sha256", "../../x"),
        ("max_segments", -1),
        ("max_segments", 2**63),
        ("num_segments", {"1": 10**9}),
        ("num_segments", {"x": 1}),
        ("shards", []),
        ("quarantined", None),
        ("num_quarantined", -1),
    ],
)
def test_a_manifest_that_contradicts_itself_is_damage(prepared: Path, name: str, value: object) -> None:
    rewrite(prepared, lambda document: document["splits"]["train"].update({name: value}))
    (damage,) = verify(str(prepared)).damaged
    assert damage.uri == str(prepared) and "delete it and run `preprocess` again" in damage.problem


def test_a_size_that_is_not_the_recorded_one_is_damage(prepared: Path) -> None:
    rewrite(prepared, lambda document: document["splits"]["train"]["shards"][0].update(num_bytes=1))
    (damage,) = verify(str(prepared)).damaged
    assert "its manifest says 1; its SHA-256 is right" in damage.problem


@pytest.mark.parametrize("content", ["", "[]", "null", "{", "[" * 100_000, '{"schema_version": NaN}', '{"splits": 1}'])
def test_a_manifest_that_is_none_is_damage(prepared: Path, content: str) -> None:
    (prepared / "manifest.json").write_text(content)
    (damage,) = verify(str(prepared)).damaged
    assert damage.uri == str(prepared) and "run `preprocess` again" in damage.problem


def test_links_out_of_a_store_are_not_followed(prepared: Path, tmp_path: Path) -> None:
    num_files = verify(str(prepared.parent)).num_files
    (prepared.parent / "again").symlink_to(prepared.parent)
    (prepared.parent / "elsewhere").symlink_to(prepared)
    assert verify(str(prepared.parent)).num_files == num_files


def test_a_file_that_is_not_listed_and_an_incomplete_list_are_damage(model: Path) -> None:
    (model / "model.pt2").write_bytes(b"anything")
    (damage,) = verify(str(model)).damaged
    assert (damage.uri, damage.problem) == (str(model / "model.pt2"), "not listed in sha256.json")
    (model / "sha256.json").write_text("{}")
    (damage,) = verify(str(model)).damaged
    assert damage.uri == str(model) and "names no file, not config.json and one of" in damage.problem


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
