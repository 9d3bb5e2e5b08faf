"""Rows in, the same rows out; damage is noticed."""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aunet.categories import Categories, Category
from aunet.errors import InputError
from pipelines.data.manifest import Manifest, Quarantined, ShardInfo, SplitInfo
from pipelines.data.rows import INDEX_SCHEMA, ROW_SCHEMA, ROWS_PER_GROUP, encode_index, encode_shard, row_digest
from pipelines.data.shards import ShardReader, damaged_rows
from pipelines.store import storage
from pipelines.store.layout import PreparedFolder

CATEGORIES = Categories((Category(id=1, name="cat", is_thing=True), Category(id=3, name="sky", is_thing=False)))


def make_row(number: int) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    row = {
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
    return {**row, "sha256": row_digest(row)}


def entry_of(row: dict[str, Any]) -> dict[str, Any]:
    """The entry of a row in an index, with a hash that no picture of the test has."""
    prints = {"image_sha256": f"{row['image_id']:064x}", "difference_hash": 2**64 - row["image_id"] or None}
    return {name: (row | prints)[name] for name in INDEX_SCHEMA.names}


def info_of(name: str, num_rows: int, data: bytes) -> ShardInfo:
    return ShardInfo(name=name, num_rows=num_rows, num_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture
def prepared(tmp_path: Path) -> str:
    """Two shards of 11 and 6 rows, their index and their manifest."""
    uri = str(tmp_path / "x")
    shards = []
    for number, numbers in enumerate((range(11), range(11, 17))):
        data = encode_shard([make_row(n) for n in numbers])
        shards.append(info_of(f"{number}.parquet", len(numbers), data))
        storage.write_bytes(str(tmp_path / "shards" / shards[-1].name), data)
    rows = [make_row(n) for n in range(17)]
    index = encode_index([entry_of(row) for row in rows])
    storage.write_bytes(storage.join(uri, "index.parquet"), index)
    split = SplitInfo(
        shards=tuple(shards),
        index=info_of("index.parquet", 17, index),
        rows_sha256="ab" * 32,
        num_images=17,
        num_segments={1: 136, 3: 0, 10: 1},
        max_segments=16,
        num_quarantined=1,
        quarantined=(Quarantined(image=5, rule="image-missing", message="5.jpg: missing"),),
    )
    manifest = Manifest(categories=CATEGORIES, splits={"train": split}, source_fingerprint="abc", code_version="1")
    storage.write_bytes(PreparedFolder(uri).manifest_uri, manifest.to_bytes())
    return uri


def shard_path(prepared: str, number: int) -> Path:
    return Path(prepared).parent / "shards" / f"{number}.parquet"


def test_rows_come_back_whole_in_any_order(prepared: str) -> None:
    reader = ShardReader(prepared, "train")
    assert len(reader) == 17
    for index in (16, 0, 10, 11, 7, 8, *range(17)):
        row = reader.row(index)
        assert list(row) == ROW_SCHEMA.names
        assert row == make_row(index)


def test_ids_and_sizes_come_without_the_pictures(prepared: str) -> None:
    reader = ShardReader(prepared, "train")
    assert reader.image_ids == [100 + n for n in range(17)]
    assert reader.sizes == [(10 + n, 20) for n in range(17)]
    assert reader.digests == [make_row(n)["sha256"] for n in range(17)]


def test_a_reader_travels_to_other_processes(prepared: str) -> None:
    reader = ShardReader(prepared, "train")
    reader.row(3)
    data = pickle.dumps(reader)
    assert len(data) < 5000, "neither files nor pictures nor the index travel"
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
    changed = [column for column in row if column != "sha256" and row[column] != other[column]]
    digests = {row_digest({**row, column: other[column]}) for column in changed}
    assert len(digests | {row_digest(row)}) == len(changed) + 1


@pytest.mark.faults
def test_a_flipped_bit_in_a_picture_is_told_with_shard_and_row(prepared: str) -> None:
    path = shard_path(prepared, 0)
    content = path.read_bytes()
    for number in range(8):
        position = content.index(make_row(number)["image"]) + 100 * number
        path.write_bytes(content[:position] + bytes([content[position] ^ 1 << number % 8]) + content[position + 1 :])
        with pytest.raises(
            InputError, match=rf"0\.parquet: the shard is damaged in row {number} \(image {100 + number}\)"
        ):
            ShardReader(prepared, "train").row(0)
        assert ShardReader(prepared, "train").row(8) == make_row(8), "another row group"


def two_rows_swapped(num_bytes: int) -> tuple[int, int, bytes]:
    """Two rows of the first group that can change places in a shard of this size, and that shard."""
    for one, other in itertools.combinations(range(ROWS_PER_GROUP), 2):
        order = [{one: other, other: one}.get(n, n) for n in range(11)]
        if len(shard := encode_shard([make_row(n) for n in order])) == num_bytes:
            return one, other, shard
    pytest.fail("no two rows whose exchange leaves the size unchanged")


@pytest.mark.faults
def test_a_row_in_the_place_of_another_is_noticed(prepared: str) -> None:
    """Sound in itself, checksums and size included, and yet not what the index says."""
    path = shard_path(prepared, 0)
    one, other, swapped = two_rows_swapped(num_bytes=path.stat().st_size)
    path.write_bytes(swapped)
    named = rf"row {one} \(image {100 + one}\), row {other} \(image {100 + other}\): its content is not what was hashed"
    with pytest.raises(InputError, match=named):
        ShardReader(prepared, "train").row(one)
    assert ShardReader(prepared, "train").row(10) == make_row(10)
    assert ShardReader(prepared, "train", verify=False).row(one) == make_row(other), "nobody looked"


@pytest.mark.faults
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_shard_is_noticed(prepared: str, share: float) -> None:
    path = shard_path(prepared, 1)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=r"1\.parquet: the shard is damaged \(\d+ bytes, not \d+\)"):
        ShardReader(prepared, "train").row(12)


@pytest.mark.faults
def test_random_flipped_bits_change_nothing_unnoticed(prepared: str) -> None:
    """Anywhere in the file, its structure included: either the rows are as they were, or the reader says where not."""
    info = Manifest.load(prepared).splits["train"].shards[0]
    path, digests = shard_path(prepared, 0), [make_row(n)["sha256"] for n in range(11)]
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    noticed = 0
    for position, bit in zip(
        rng.integers(0, len(content), 200).tolist(), rng.integers(0, 8, 200).tolist(), strict=True
    ):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :])
        reader = ShardReader(prepared, "train")
        try:
            rows = [reader.row(n) for n in range(11)]
        except InputError as error:
            noticed += "0.parquet: the shard is damaged" in str(error)
        else:
            assert rows == [make_row(n) for n in range(11)]
    assert noticed > 150, "most bits belong to pictures"
    path.write_bytes(content)
    assert damaged_rows(prepared, info, digests) == []


@pytest.mark.faults
def test_a_damaged_index_is_noticed(prepared: str) -> None:
    path = Path(prepared) / "index.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="the index is damaged"):
        ShardReader(prepared, "train").row(0)


def test_a_missing_shard_is_named(prepared: str) -> None:
    shard_path(prepared, 1).unlink()
    with pytest.raises(InputError, match=r"1\.parquet: the shard is missing"):
        ShardReader(prepared, "train").row(12)


def test_a_manifest_survives_its_file(prepared: str) -> None:
    manifest = Manifest.load(prepared)
    assert manifest.splits["train"].num_segments == {1: 136, 3: 0, 10: 1}
    assert manifest.categories == CATEGORIES
    assert manifest.to_bytes() == Path(PreparedFolder(prepared).manifest_uri).read_bytes()


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
        ({"schema_version": 99}, "schema_version is 99, this program reads 2"),
        ({"fingerprint": "0"}, "damaged"),
        ({"code_version": "2"}, "its SHA-256 does not match"),
        ({"splits": {"train": {}}}, "damaged"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(prepared: str, change: dict[str, Any], message: str) -> None:
    path = Path(PreparedFolder(prepared).manifest_uri)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **change}))
    with pytest.raises(InputError, match=message):
        Manifest.load(prepared)


def test_prints_come_from_the_index(prepared: str) -> None:
    prints = ShardReader(prepared, "train").prints()
    entries = [entry_of(make_row(n)) for n in range(17)]
    assert [(p.image, p.uri, p.sha256.hex(), p.difference_hash) for p in prints] == [
        (e["image_id"], e["file_name"], e["image_sha256"], e["difference_hash"]) for e in entries
    ]


def test_prints_of_an_index_of_an_earlier_version_come_from_the_shards(prepared: str) -> None:
    manifest = Manifest.load(prepared)
    split = manifest.splits["train"]
    names = ("image_id", "height", "width", "sha256")
    rows = [make_row(n) for n in range(17)]
    table = pa.Table.from_pylist(
        [{name: row[name] for name in names} for row in rows],
        schema=pa.schema([INDEX_SCHEMA.field(name) for name in names]),
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    data = sink.getvalue().to_pybytes()
    storage.write_bytes(storage.join(prepared, "index.parquet"), data)
    old = replace(manifest, splits={"train": replace(split, index=info_of("index.parquet", 17, data))})
    storage.write_bytes(PreparedFolder(prepared).manifest_uri, old.to_bytes())
    reader = ShardReader(prepared, "train")
    assert reader.digests == [row["sha256"] for row in rows]
    assert [p.sha256 for p in reader.prints()] == [hashlib.sha256(row["image"]).digest() for row in rows]
