"""Row groups end where reading one row reads little else."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.data.ingest import sample_plan
from pipelines.data.manifest import Manifest, SplitInfo
from pipelines.data.rows import encode_index, encode_shard, row_digest
from pipelines.data.shards import ShardReader
from pipelines.settings.run_config import DataConfig, RunConfig, TrainConfig
from pipelines.store import storage
from pipelines.store.layout import PreparedFolder
from tests.pipelines.data.test_shards import CATEGORIES, entry_of, info_of, make_row


@pytest.mark.parametrize(("num_bytes", "lengths"), [(2000, [8, 8, 4]), (40_000, [1] * 20), (14_000, [3] * 6 + [2])])
def test_a_row_group_ends_once_it_is_large(num_bytes: int, lengths: list[int]) -> None:
    rows = [{**make_row(n), "image": bytes(num_bytes)} for n in range(20)]
    file = pq.ParquetFile(pa.BufferReader(encode_shard(rows)))
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == lengths


class CountedFile(io.BytesIO):
    """A file that counts the bytes that are read from it."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        CountedFile.count += len(content)
        return content


def test_little_more_is_read_than_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in the order of training, with a cache that holds a twentieth of them."""
    uri, rows = str(tmp_path / "x"), [{**make_row(n % 9), "image_id": n + 1} for n in range(160)]
    rng = np.random.default_rng(0)
    shards, used = [], 0
    for row in rows:
        row["image"] = rng.bytes(int(rng.integers(30_000, 90_000)))
        row["sha256"] = row_digest(row)
        used += len(row["image"]) + len(row["panoptic"])
    for first in range(0, 160, 40):
        data = encode_shard(rows[first : first + 40])
        shards.append(info_of(f"{first}.parquet", 40, data))
        storage.write_bytes(str(tmp_path / "shards" / shards[-1].name), data)
    index = encode_index(entry_of(row) for row in rows)
    storage.write_bytes(storage.join(uri, "index.parquet"), index)
    split = SplitInfo(
        shards=tuple(shards),
        index=info_of("index.parquet", 160, index),
        rows_sha256="ab" * 32,
        num_images=160,
        num_segments={1: 1},
        max_segments=16,
        window=60,
    )
    manifest = Manifest(categories=CATEGORIES, splits={"train": split}, source_fingerprint="abc", code_version="1")
    storage.write_bytes(PreparedFolder(uri).manifest_uri, manifest.to_bytes())

    reader = ShardReader(uri, "train", cache_bytes=used // 20)
    config = RunConfig(name="test", data=DataConfig(root="x"), train=TrainConfig(batch_size=8, epochs=1))
    plan = sample_plan(config, reader)
    assert plan.window == 60 and len(plan.shard_ends) == 4 * 8
    opened = storage.open_file
    monkeypatch.setattr(storage, "open_file", lambda uri: pa.PythonFile(CountedFile(opened(uri).read()), "r"))
    CountedFile.count = 0
    for step in range(plan.num_steps):
        for draw in plan.batch(step):
            assert reader.row(draw.index)["image_id"] == draw.index + 1
    assert used < CountedFile.count < 1.3 * used, f"{CountedFile.count / used:.2f} times what is used"
