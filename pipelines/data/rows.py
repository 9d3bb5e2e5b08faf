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
into row groups of eight rows, the unit of random access.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP = 8


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
    return _encode(pa.Table.from_pylist(rows, schema=ROW_SCHEMA), ROWS_PER_GROUP)


def encode_index(rows: list[dict[str, Any]]) -> bytes:
    """The index entries of all rows of a split → the bytes of one Parquet file."""
    return _encode(pa.Table.from_pylist(rows, schema=INDEX_SCHEMA), max(1, len(rows)))


def _encode(table: pa.Table, rows_per_group: int) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=rows_per_group,
        compression="none",
        use_dictionary=False,
        write_statistics=["image_id"],  # type: ignore[arg-type]
        write_page_checksum=True,
    )
    return sink.getvalue().to_pybytes()
