"""Parquet shards of encoded pictures with their annotations: their schema, and random access to their rows.

One row is one image:

========== ==============================================================================================
image_id   the data set's number
file_name  name of the image file
height     pixels, as is `width`
image      the image file's bytes, untouched
panoptic   the panoptic PNG's bytes, untouched; of Cityscapes as distributed, a PNG made from its instanceIds
segments   id, category_id, is_crowd, area (pixels), bbox (x, y, width, height), counted from the PNG
instances  category_id, is_crowd, bbox (x, y, width, height), rle (COCO's compressed `counts`); null where the
           data set has no instances JSON
sha256     over all of the above, see `row_digest`
========== ==============================================================================================

Shards carry page checksums and are cut into row groups of eight rows, the unit of random access.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from aunet.errors import InputError
from pipelines import storage
from pipelines.data.manifest import SCHEMA_VERSION, Manifest, ShardInfo, SplitInfo

__all__ = [
    "ROW_SCHEMA",
    "SCHEMA_VERSION",
    "Manifest",
    "ShardInfo",
    "ShardReader",
    "SplitInfo",
    "encode_shard",
    "row_digest",
]

ROWS_PER_GROUP = 8

ROW_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("file_name", pa.string(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("image", pa.binary(), nullable=False),
        pa.field("panoptic", pa.binary(), nullable=False),
        pa.field(
            "segments",
            pa.list_(
                pa.struct(
                    [
                        pa.field("id", pa.int64()),
                        pa.field("category_id", pa.int64()),
                        pa.field("is_crowd", pa.bool_()),
                        pa.field("area", pa.int64()),
                        pa.field("bbox", pa.list_(pa.int32())),
                    ]
                )
            ),
            nullable=False,
        ),
        pa.field(
            "instances",
            pa.list_(
                pa.struct(
                    [
                        pa.field("category_id", pa.int64()),
                        pa.field("is_crowd", pa.bool_()),
                        pa.field("bbox", pa.list_(pa.float64())),
                        pa.field("rle", pa.string()),
                    ]
                )
            ),
        ),
        pa.field("sha256", pa.string(), nullable=False),
    ]
)


def row_digest(row: Mapping[str, Any]) -> str:
    """SHA-256 in hex over a row's pictures and annotations; its own `sha256` is left out."""
    light = {k: v for k, v in row.items() if k not in ("image", "panoptic", "sha256")}
    digest = hashlib.sha256()
    for part in (row["image"], row["panoptic"], json.dumps(light, sort_keys=True).encode()):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def encode_shard(rows: list[dict[str, Any]]) -> bytes:
    """Rows (without `sha256`) → the bytes of one Parquet file; equal rows give equal bytes."""
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([{**row, "sha256": row_digest(row)} for row in rows], schema=ROW_SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=ROWS_PER_GROUP,
        compression="none",
        use_dictionary=False,
        write_statistics=["image_id"],  # type: ignore[arg-type]
        write_page_checksum=True,
    )
    return sink.getvalue().to_pybytes()


class ShardReader:
    """Random access to the rows of one split, with page checksums verified.

    May be pickled into other processes; files are opened there when first used.

    Args:
        prepared_uri: folder of the manifest.
        split: `train` or `val`.
        cache_bytes: row groups kept in memory, the most recently used first.

    Raises:
        InputError: no manifest, or no such split in it.
    """

    def __init__(self, prepared_uri: str, split: str, cache_bytes: int = 256 * 2**20) -> None:
        self.manifest = Manifest.load(prepared_uri)
        if split not in self.manifest.splits:
            names = ", ".join(self.manifest.splits)
            raise InputError(f"{prepared_uri}: split {split!r} is not in the manifest; there are {names}")
        self.prepared_uri, self.split, self.cache_bytes = prepared_uri, split, cache_bytes
        self._shards = self.manifest.splits[split].shards
        self._ends = np.cumsum([s.num_rows for s in self._shards])
        self._reset()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_files", "_groups", "_cached")
        return {k: v for k, v in self.__dict__.items() if k not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def row(self, index: int) -> dict[str, Any]:
        """Row `index` of the split as plain Python values, columns as in the module's table.

        Raises:
            IndexError: outside of 0 … len - 1.
            InputError: the shard is missing or damaged.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)} in split {self.split!r}")
        shard = int(np.searchsorted(self._ends, index, side="right"))
        group, place = divmod(index - int(self._ends[shard]) + self._shards[shard].num_rows, ROWS_PER_GROUP)
        return self._group(shard, group).slice(place, 1).to_pylist()[0]

    @cached_property
    def image_ids(self) -> list[int]:
        """image_id of every row."""
        return [int(i) for i in self._light["image_id"]]

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every row in pixels."""
        return [(int(h), int(w)) for h, w in zip(self._light["height"], self._light["width"], strict=True)]

    @cached_property
    def digests(self) -> list[str]:
        """sha256 of every row."""
        return self._columns(["sha256"])["sha256"]

    @cached_property
    def _light(self) -> dict[str, list[int]]:
        return self._columns(["image_id", "height", "width"])

    def _columns(self, names: list[str]) -> dict[str, list[Any]]:
        tables = [self._guard(n, lambda n=n: self._file(n).read(columns=names)) for n in range(len(self._shards))]
        return pa.concat_tables(tables).to_pydict()

    def _reset(self) -> None:
        self._files: dict[int, Any] = {}
        self._groups: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()
        self._cached = 0

    def _group(self, shard: int, group: int) -> pa.Table:
        key = (shard, group)
        if key in self._groups:
            self._groups.move_to_end(key)
            return self._groups[key]
        table = self._guard(shard, lambda: self._file(shard).read_row_group(group, use_threads=False))
        self._groups[key] = table
        self._cached += table.nbytes
        while self._cached > self.cache_bytes and len(self._groups) > 1:
            self._cached -= self._groups.popitem(last=False)[1].nbytes
        return table

    def _file(self, shard: int) -> Any:
        if shard not in self._files:
            import pyarrow.parquet as pq

            system, path = storage.filesystem(storage.join(self.prepared_uri, self._shards[shard].name))
            self._files[shard] = pq.ParquetFile(system.open_input_file(path), page_checksum_verification=True)
        return self._files[shard]

    def _guard(self, shard: int, read: Any) -> pa.Table:
        uri = storage.join(self.prepared_uri, self._shards[shard].name)
        try:
            return read()
        except FileNotFoundError:
            cure = f"delete {self.prepared_uri} and run `preprocess` again"
            raise InputError(f"{uri}: the shard is missing; {cure}") from None
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{uri}: the shard is damaged ({str(error).strip()[:120]}); "
                f"delete {self.prepared_uri} and run `preprocess` again"
            ) from None
