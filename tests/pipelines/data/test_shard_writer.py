"""The images of a split decide where it is cut, and a receipt records all that a task did."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from aunet.data.coco_json import ImageRecord
from aunet.data.defects import Defect
from aunet.errors import InputError
from pipelines.data.manifest import ShardInfo
from pipelines.data.shard_writer import MAX_SHARD_BYTES, ShardResult, cut, read_receipts
from pipelines.data.sources import RawImage
from pipelines.store import storage
from pipelines.store.layout import PreparedPool

ENTRY = {
    "image_id": 1,
    "height": 2,
    "width": 3,
    "sha256": "4",
    "file_name": "5.png",
    "image_sha256": "6",
    "difference_hash": None,
}
SIZES = [131, 213, 168, 179, 256, 256, 256, 235, 256, 256, 137, 256, 157, 244]
"""Of the shards of images 0 … 2999: others would be written anew where data grow."""


def image(number: int, num_bytes: int = 200_000) -> RawImage:
    record = ImageRecord(image_id=number, file_name="", height=1, width=1, panoptic_name="", segments=())
    return RawImage(record=record, instances=None, signature=b"", num_bytes=num_bytes)


def ids_of(batches: Iterable[tuple[RawImage, ...]]) -> list[tuple[int, ...]]:
    return [tuple(image.record.image_id for image in batch) for batch in batches]


@given(ids=st.lists(st.integers(0, 10**9), min_size=1, max_size=300, unique=True), rows_per_shard=st.integers(1, 20))
def test_every_image_is_in_one_batch_of_the_right_size(ids: list[int], rows_per_shard: int) -> None:
    batches = list(cut(map(image, ids), rows_per_shard))
    assert [i.record.image_id for batch in batches for i in batch] == ids
    assert all(len(batch) <= rows_per_shard for batch in batches)
    assert all(len(batch) >= max(1, rows_per_shard // 2) for batch in batches[:-1])


@given(position=st.integers(0, 2000), new=st.integers(10**6, 10**9), remove=st.booleans())
def test_a_change_is_felt_only_around_it(position: int, new: int, remove: bool) -> None:
    before = list(range(2000))
    after = before[:position] + ([] if remove else [new]) + before[position + remove :]
    batches = [set(ids_of(cut(map(image, ids), 16))) for ids in (before, after)]
    assert len(batches[0] - batches[1]) <= 12, "of some 160"


def test_small_images_are_cut_as_they_always_were() -> None:
    batches = ids_of(cut(map(image, range(3000)), 256))
    assert [len(batch) for batch in batches] == SIZES
    half = MAX_SHARD_BYTES // 2 // 256
    assert batches == ids_of(cut((image(n, half - 1) for n in range(3000)), 256))


@given(ids=st.lists(st.integers(0, 10**9), min_size=1, max_size=300, unique=True), data=st.data())
def test_no_batch_has_more_bytes_than_a_task_can_hold(ids: list[int], data: st.DataObject) -> None:
    sizes = st.sampled_from([1, 10**5, 10**7, 5 * 10**7, 10**9])
    images = [image(number, data.draw(sizes)) for number in ids]
    batches = list(cut(images, 256))
    assert [image for batch in batches for image in batch] == images
    assert all(sum(image.num_bytes for image in batch[:-1]) < MAX_SHARD_BYTES for batch in batches)
    full = [batch for batch in batches[:-1] if len(batch) < 128]
    assert all(sum(image.num_bytes for image in batch) >= MAX_SHARD_BYTES // 2 for batch in full)


@given(position=st.integers(0, 2000), new=st.integers(10**6, 10**9), remove=st.booleans())
def test_a_change_is_felt_only_around_it_where_images_are_large(position: int, new: int, remove: bool) -> None:
    before = list(range(2000))
    after = before[:position] + ([] if remove else [new]) + before[position + remove :]
    batches = [set(ids_of(cut((image(i, 10**7) for i in ids), 256))) for ids in (before, after)]
    assert 70 < len(batches[0]) < 150 and len(batches[0] - batches[1]) <= 12


def test_a_receipt_survives_its_file() -> None:
    result = ShardResult(
        shard=ShardInfo(name="a.parquet", num_rows=1, num_bytes=2, sha256="3" * 64),
        index=(ENTRY,),
        num_segments={7: 2, 12: 1},
        max_segments=2,
        defects=(Defect(rule="map-void", message="m", image="x", segment=3),),
    )
    assert ShardResult.from_bytes(result.to_bytes()) == result
    nothing = ShardResult(shard=None, index=(), num_segments={}, max_segments=0, defects=())
    assert ShardResult.from_bytes(nothing.to_bytes()) == nothing


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shard", {"name": "../../x", "num_rows": 1, "num_bytes": 2, "sha256": "3" * 64}),
        ("shard", {"name": "a.parquet", "num_rows": "x", "num_bytes": 2, "sha256": "3" * 64}),
        ("shard", {"name": "a.parquet", "num_rows": 2, "num_bytes": 2, "sha256": "3" * 64}),
        ("shard", None),
        ("index", [ENTRY | {"image_id": "1"}]),
        ("index", [ENTRY | {"difference_hash": "1"}]),
        ("index", [{name: ENTRY[name] for name in ("image_id", "height", "width", "sha256")}]),
        ("index", [[]]),
        ("num_segments", {"x": 1}),
        ("num_segments", {"7": "1"}),
        ("max_segments", -1),
        ("defects", [{"rule": 1, "message": "m"}]),
        ("colour", 1),
    ],
)
def test_a_receipt_with_other_values_is_damaged(name: str, value: Any) -> None:
    plain = {
        "shard": {"name": "a.parquet", "num_rows": 1, "num_bytes": 2, "sha256": "3" * 64},
        "index": [ENTRY],
        "num_segments": {"7": 1},
        "max_segments": 1,
        "defects": [],
    }
    assert ShardResult.from_bytes(json.dumps(plain).encode()).num_segments == {7: 1}
    with pytest.raises(InputError, match=r"^(receipt|shard\.)"):
        ShardResult.from_bytes(json.dumps(plain | {name: value}).encode())


def test_a_damaged_receipt_is_none(tmp_path: Path) -> None:
    pool = PreparedPool(str(tmp_path))
    sound = ShardResult(shard=None, index=(), num_segments={}, max_segments=0, defects=())
    for key, content in {"a": sound.to_bytes(), "b": sound.to_bytes()[:20], "c": b"[]", "d": b"\xff"}.items():
        storage.write_bytes(pool.receipt_uri(key), content)
    assert dict(read_receipts(pool, "abcd")) == {"a": sound}
