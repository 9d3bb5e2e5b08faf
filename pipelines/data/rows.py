"""The Parquet files of prepared data: shards, one row per image, and the index of a split.

A shard's columns:

========== ==============================================================================================
image_id   the data set's id
file_name  name of the image file
height     pixels, as is `width`
image      the image file's bytes, untouched
panoptic   the panoptic PNG's bytes, untouched; of Cityscapes as distributed, a PNG made from its instanceIds
segments   id, category_id, is_crowd, area (pixels), bbox (x, y, width, height), measured in the PNG
instances  category_id, is_crowd, bbox (x, y, width, height), rle (COCO's compressed `counts`); null where the
           data set has no instances JSON
sha256     over all of the above, see `row_digest`
========== ==============================================================================================

The index of a split has image_id, file_name, height, width and sha256 of all its rows, in their order, and what tells
their pictures from others: image_sha256 of the image file, and its difference_hash (see `aunet.data.pictures`), null
where it has no contrast. Both carry page checksums and are not compressed: the pictures already are. Shards are cut
into row groups, the unit of random access: a group ends with the row that makes it large enough, so that most pictures
are alone in theirs and no more is read than is used.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP = 8
"""Most rows of a row group."""
GROUP_BYTES = 32 * 2**10
"""Pictures with which a row group ends."""
INDEX_GROUP = 2**14
"""Entries of a row group of an index."""


def _column(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


_SEGMENT = pa.struct(
    [
        pa.field("id", pa.int64()),
        pa.field("category_id", pa.int64()),
        pa.field("is_crowd", pa.bool_()),
        pa.field("area", pa.int64()),
        pa.field("bbox", pa.list_(pa.int32())),
    ]
)
_INSTANCE = pa.struct(
    [
        pa.field("category_id", pa.int64()),
        pa.field("is_crowd", pa.bool_()),
        pa.field("bbox", pa.list_(pa.float64())),
        pa.field("rle", pa.string()),
    ]
)
ROW_SCHEMA = pa.schema(
    [
        _column("image_id", pa.int64()),
        _column("file_name", pa.string()),
        _column("height", pa.int32()),
        _column("width", pa.int32()),
        _column("image", pa.binary()),
        _column("panoptic", pa.binary()),
        _column("segments", pa.list_(_SEGMENT)),
        pa.field("instances", pa.list_(_INSTANCE)),
        _column("sha256", pa.string()),
    ]
)
INDEX_SCHEMA = pa.schema(
    [
        *(ROW_SCHEMA.field(name) for name in ("image_id", "height", "width", "sha256")),
        pa.field("file_name", pa.string()),  # null, as those below, in what earlier versions wrote
        pa.field("image_sha256", pa.string()),
        pa.field("difference_hash", pa.uint64()),
    ]
)


def row_digest(row: Mapping[str, Any]) -> str:
    """SHA-256 in hex over a row's pictures and annotations; its own `sha256` is left out."""
    annotation = {k: v for k, v in row.items() if k not in ("image", "panoptic", "sha256")}
    digest = hashlib.sha256()
    for content in (row["image"], row["panoptic"], json.dumps(annotation, sort_keys=True).encode()):
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def encode_shard(rows: list[dict[str, Any]]) -> bytes:
    """Whole rows → the bytes of one Parquet file; equal rows give equal bytes."""
    table, first, groups = pa.Table.from_pylist(rows, schema=ROW_SCHEMA), 0, []
    for length in _group_lengths(rows):
        groups.append(table.slice(first, length))
        first += length
    sink = pa.BufferOutputStream()
    _write(groups, ROW_SCHEMA, sink)
    return sink.getvalue().to_pybytes()


def encode_index(rows: Iterable[dict[str, Any]]) -> bytes:
    """The index entries of all rows of a split → the bytes of one Parquet file."""
    with tempfile.TemporaryFile() as file:
        write_index(rows, file)
        file.seek(0)
        return file.read()


def write_index(rows: Iterable[dict[str, Any]], file: IO[bytes]) -> None:
    """Write the index entries of all rows of a split as a Parquet file, holding `INDEX_GROUP` of them at a time."""
    remaining = iter(rows)
    groups = iter(lambda: list(islice(remaining, INDEX_GROUP)), [])
    _write((pa.Table.from_pylist(group, schema=INDEX_SCHEMA) for group in groups), INDEX_SCHEMA, file)


def _group_lengths(rows: list[dict[str, Any]]) -> Iterator[int]:
    """The number of rows of each row group of a shard."""
    length = num_bytes = 0
    for row in rows:
        length += 1
        num_bytes += len(row["image"]) + len(row["panoptic"])
        if length == ROWS_PER_GROUP or num_bytes >= GROUP_BYTES:
            yield length
            length = num_bytes = 0
    if length:
        yield length


def _write(groups: Iterable[pa.Table], schema: pa.Schema, sink: Any) -> None:
    with pq.ParquetWriter(
        sink,
        schema,
        compression="none",
        use_dictionary=False,
        write_statistics=["image_id"],  # type: ignore[arg-type]
        write_page_checksum=True,
    ) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=group.num_rows)
