"""Rows in, the same rows out; damage is noticed."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from aunet.categories import Categories, Category
from aunet.errors import InputError
from pipelines import storage
from pipelines.data.manifest import Manifest, ShardInfo, SplitInfo, manifest_uri
from pipelines.data.shards import ROW_SCHEMA, ROWS_PER_GROUP, ShardReader, encode_shard, row_digest

CATEGORIES = Categories((Category(id=1, name="cat", is_thing=True), Category(id=3, name="sky", is_thing=False)))


def make_row(number: int) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    return {
        "image_id": 100 + number,
        "file_name": f"{number}.jpg",
        "height": 10 + number,
        "width": 20,
        "image": rng.bytes(2000),
        "panoptic": rng.bytes(300),
        "segments": [{"id": 5, "category_id": 1, "is_crowd": number % 2 == 0, "area": 9, "bbox": [1, 2, 3, 4]}]
        * number,
        "instances": None
        if number % 3
        else [{"category_id": 1, "is_crowd": False, "bbox": [0.5, 1.0, 2.0, 3.25], "rle": "abc"}],
    }


@pytest.fixture
def prepared(tmp_path: Path) -> str:
    """Two shards of 11 and 6 rows, and their manifest."""
    shards = []
    for number, numbers in enumerate((range(11), range(11, 17))):
        data = encode_shard([make_row(n) for n in numbers])
        name = f"shards/train-{number:05d}.parquet"
        storage.write_bytes(storage.join(str(tmp_path), name), data)
        digest = hashlib.sha256(data).hexdigest()
        shards.append(ShardInfo(name=name, num_rows=len(numbers), num_bytes=len(data), sha256=digest))
    split = SplitInfo(shards=tuple(shards), num_images=17, num_segments={1: 136, 3: 0}, max_segments=16)
    manifest = Manifest(categories=CATEGORIES, splits={"train": split}, source_fingerprint="abc")
    storage.write_bytes(manifest_uri(str(tmp_path)), manifest.to_bytes())
    return str(tmp_path)


def test_rows_come_back_whole_in_any_order(prepared: str) -> None:
    reader = ShardReader(prepared, "train")
    assert len(reader) == 17
    for index in (16, 0, 10, 11, 7, 8, *range(17)):
        row = reader.row(index)
        assert list(row) == ROW_SCHEMA.names
        assert row.pop("sha256") == row_digest(make_row(index))
        assert row == make_row(index)


def test_ids_and_sizes_come_without_the_pictures(prepared: str) -> None:
    reader = ShardReader(prepared, "train")
    assert reader.image_ids == [100 + n for n in range(17)]
    assert reader.sizes == [(10 + n, 20) for n in range(17)]


def test_a_reader_travels_to_other_processes(prepared: str) -> None:
    reader = ShardReader(prepared, "train")
    reader.row(3)
    data = pickle.dumps(reader)
    assert len(data) < 5000, "neither files nor pictures travel"
    assert pickle.loads(data).row(12)["image_id"] == 112


def test_the_cache_is_bounded(prepared: str) -> None:
    reader = ShardReader(prepared, "train", cache_bytes=30_000)
    for index in (*range(17), *range(17)):
        assert reader.row(index)["image_id"] == 100 + index
        assert reader._cached == sum(g.nbytes for g in reader._groups.values())
        assert len(reader._groups) == 1 or reader._cached <= 30_000


def test_an_index_outside_is_an_index_error(prepared: str) -> None:
    for index in (-1, 17):
        with pytest.raises(IndexError, match="of 17"):
            ShardReader(prepared, "train").row(index)


def test_equal_rows_give_equal_bytes_with_checksums_and_small_groups(tmp_path: Path) -> None:
    rows = [make_row(n) for n in range(20)]
    data = encode_shard(rows)
    assert data == encode_shard([dict(reversed(row.items())) for row in rows])
    (tmp_path / "x.parquet").write_bytes(data)
    file = pq.ParquetFile(tmp_path / "x.parquet")
    assert file.schema_arrow.equals(ROW_SCHEMA)
    assert [file.metadata.row_group(n).num_rows for n in range(3)] == [ROWS_PER_GROUP, ROWS_PER_GROUP, 4]


def test_the_digest_covers_every_column() -> None:
    row, other = make_row(3), make_row(4)
    digests = {row_digest({**row, column: other[column]}) for column in row if row[column] != other[column]}
    assert len(digests | {row_digest(row)}) == len(row)


@pytest.mark.faults
def test_flipped_bits_in_pictures_are_noticed(prepared: str) -> None:
    path = Path(prepared) / "shards/train-00000.parquet"
    whole = path.read_bytes()
    for number in range(8):
        position = whole.index(make_row(number)["image"]) + 100 * number
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << number % 8]) + whole[position + 1 :])
        with pytest.raises(InputError, match=r"train-00000\.parquet: the shard is damaged"):
            ShardReader(prepared, "train").row(number)


@pytest.mark.faults
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_truncated_shard_is_noticed(prepared: str, share: float) -> None:
    path = Path(prepared) / "shards/train-00001.parquet"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match="the shard is damaged"):
        ShardReader(prepared, "train").row(12)


def test_a_missing_shard_is_named(prepared: str) -> None:
    (Path(prepared) / "shards/train-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"train-00001\.parquet: the shard is missing"):
        ShardReader(prepared, "train").row(12)


def test_a_manifest_survives_its_file(prepared: str) -> None:
    manifest = Manifest.load(prepared)
    assert manifest.splits["train"].num_segments == {1: 136, 3: 0}
    assert manifest.categories == CATEGORIES
    assert manifest.to_bytes() == Path(manifest_uri(prepared)).read_bytes()


def test_the_fingerprint_names_content_alone(prepared: str) -> None:
    manifest = Manifest.load(prepared)
    elsewhere = Manifest(categories=CATEGORIES, splits=manifest.splits, source_fingerprint="other")
    assert elsewhere.fingerprint == manifest.fingerprint
    fewer = Manifest(categories=Categories(CATEGORIES.entries[:1]), splits=manifest.splits, source_fingerprint="abc")
    assert fewer.fingerprint != manifest.fingerprint


def test_an_unknown_split_is_named_with_those_that_exist(prepared: str) -> None:
    with pytest.raises(InputError, match=r"split 'test' is not in the manifest; there are train"):
        ShardReader(prepared, "test")


def test_a_missing_manifest_names_the_cure(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `preprocess` first"):
        Manifest.load(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "schema_version is 99, this program reads 1"),
        ({"fingerprint": "0"}, "damaged"),
        ({"splits": {"train": {}}}, "damaged"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(prepared: str, change: dict[str, Any], message: str) -> None:
    path = Path(manifest_uri(prepared))
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **change}))
    with pytest.raises(InputError, match=message):
        Manifest.load(prepared)
