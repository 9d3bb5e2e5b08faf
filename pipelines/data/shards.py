"""Random access to the rows of a split, each checked against its recorded hash."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aunet.data.leakage import Print
from aunet.data.pictures import difference_hash, look, open_picture
from aunet.errors import InputError
from pipelines.data.manifest import Manifest, ShardInfo
from pipelines.data.rows import INDEX_SCHEMA, ROW_SCHEMA, row_digest
from pipelines.store import storage
from pipelines.store.layout import PreparedFolder

MAX_OPEN = 512
"""Files that a reader keeps open, as long as they have no more than `MAX_OPEN_GROUPS`."""
MAX_OPEN_GROUPS = 2**14
"""Row groups of the files that a reader keeps open; what is known of each takes some 14 KB."""
DAMAGE = (pa.ArrowException, OSError, ValueError)
"""What is raised where a shard is read that is damaged; see `raise_if_passing`."""
CURE = "run `verify {0}`, delete what it names and run `preprocess` again"


class ShardReader:
    """The rows of one split.

    May be pickled into other processes; files are opened there when first used.

    Args:
        prepared_uri: folder of the manifest.
        split: `train` or `val`.
        verify: hash every row that is read and compare it with the split's index; page checksums are checked anyway.
        cache_bytes: row groups kept in memory, the most recently used first.

    Raises:
        InputError: no manifest, or no such split in it.
    """

    def __init__(self, prepared_uri: str, split: str, *, verify: bool = True, cache_bytes: int = 256 * 2**20) -> None:
        self.manifest = Manifest.load(prepared_uri)
        if split not in self.manifest.splits:
            names = ", ".join(self.manifest.splits)
            raise InputError(f"{prepared_uri}: split {split!r} is not in the manifest; there are {names}")
        self.prepared_uri, self.split, self.verify, self.cache_bytes = prepared_uri, split, verify, cache_bytes
        self._shards = self.manifest.splits[split].shards
        self._ends = np.cumsum([s.num_rows for s in self._shards])
        self._reset()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getstate__(self) -> dict[str, Any]:
        read_again = ("_files", "_groups", "_open_groups", "_cached", "_sha256", "image_ids")
        return {k: v for k, v in self.__dict__.items() if k not in read_again}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def row(self, index: int) -> dict[str, Any]:
        """Row `index` of the split as plain Python values, columns as in `rows`.

        Raises:
            IndexError: outside of 0 … len - 1.
            InputError: the shard is missing or damaged; names the shard and the row.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)} in split {self.split!r}")
        shard = int(np.searchsorted(self._ends, index, side="right"))
        number = index - int(self._ends[shard]) + self._shards[shard].num_rows
        group, slot = self._file(shard).locate(number)
        try:
            row = self._group(shard, group).slice(slot, 1).to_pylist()[0]
            if not self.verify or row["sha256"] == self._sha256[index].as_py() == row_digest(row):
                return row
            why = "its content is not what was hashed"
        except (*DAMAGE, KeyError) as error:
            raise_if_passing(error)
            why = str(error).strip()[:120]
        raise self._damaged(shard, group, why)

    def annotations(self) -> Iterator[dict[str, Any]]:
        """`height`, `width` and `segments` of every row, in their order; no picture is read.

        Raises:
            InputError: a shard is missing or damaged.
        """
        for shard in range(len(self._shards)):
            file = self._file(shard)
            for group in range(file.num_groups):
                try:
                    rows = file.read(group, ["height", "width", "segments"]).to_pylist()
                except DAMAGE as error:
                    raise_if_passing(error)
                    raise self._damaged(shard, group, str(error).strip()[:120]) from None
                yield from rows

    @cached_property
    def image_ids(self) -> list[int]:
        """image_id of every row."""
        return self._index("image_id")["image_id"].to_pylist()

    @property
    def window(self) -> int:
        """Rows of a window of the order of training, see `SamplePlan`."""
        return self.manifest.splits[self.split].window

    @property
    def shard_ends(self) -> list[int]:
        """For each shard in order, the number of the row after its last one."""
        return self._ends.tolist()

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every row in pixels."""
        index = self._index("height", "width")
        return list(zip(index["height"].to_pylist(), index["width"].to_pylist(), strict=True))

    @property
    def file_names(self) -> list[str]:
        """Name of the image file of every row, "" where an earlier version wrote the index."""
        return [name or "" for name in self._index("file_name")["file_name"].to_pylist()]

    @property
    def digests(self) -> list[str]:
        """sha256 of every row."""
        return self._sha256.to_pylist()

    def prints(self) -> list[Print]:
        """What tells the picture of every row from others.

        Raises:
            InputError: an earlier version wrote the index, so that the shards are read, and one is damaged.
        """
        names = ("image_id", "file_name", "image_sha256", "difference_hash")
        index = self._index(*names)
        if index["image_sha256"].null_count:
            return [_print(self.row(number)) for number in range(len(self))]
        columns = (index[name].to_pylist() for name in names)
        return [
            Print(image=image_id, uri=name, sha256=bytes.fromhex(sha256), difference_hash=look)
            for image_id, name, sha256, look in zip(*columns, strict=True)
        ]

    @cached_property
    def _sha256(self) -> pa.ChunkedArray:
        return self._index("sha256")["sha256"]

    def _index(self, *names: str) -> pa.Table:
        """Columns of the index."""
        info = self.manifest.splits[self.split].index
        uri = PreparedFolder(self.prepared_uri).index_uri(info.name)
        content = storage.read_bytes(uri)
        if hashlib.sha256(content).hexdigest() != info.sha256:
            raise InputError(f"{uri}: the index is damaged (its SHA-256 is not the manifest's); {self._cure}")
        return pq.read_table(pa.BufferReader(content), columns=list(names), schema=INDEX_SCHEMA)

    @property
    def _cure(self) -> str:
        return CURE.format(self.prepared_uri)

    def _reset(self) -> None:
        self._files: OrderedDict[int, OpenShard] = OrderedDict()
        self._groups: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()
        self._open_groups = self._cached = 0

    def _group(self, shard: int, group: int) -> pa.Table:
        key = (shard, group)
        if key in self._groups:
            self._groups.move_to_end(key)
            return self._groups[key]
        table = self._file(shard).read(group)
        self._groups[key] = table
        self._cached += table.nbytes
        while self._cached > self.cache_bytes and len(self._groups) > 1:
            self._cached -= self._groups.popitem(last=False)[1].nbytes
        return table

    def _file(self, shard: int) -> OpenShard:
        if shard not in self._files:
            opened = self._files[shard] = open_shard(self.prepared_uri, self._shards[shard])
            self._open_groups += opened.num_groups
            while len(self._files) > MAX_OPEN or (self._open_groups > MAX_OPEN_GROUPS and len(self._files) > 1):
                self._open_groups -= self._files.popitem(last=False)[1].num_groups
        self._files.move_to_end(shard)
        return self._files[shard]

    def _damaged(self, shard: int, group: int, why: str) -> InputError:
        """The error, with the rows of the group that are not what they were."""
        first = int(self._ends[shard]) - self._shards[shard].num_rows
        digests = self.digests[first : first + self._shards[shard].num_rows]
        rows = damaged_rows(self.prepared_uri, self._shards[shard], digests, groups=[group])
        named = ", ".join(f"row {n} (image {self.image_ids[first + n]})" for n in rows) or "none of its rows"
        uri = PreparedFolder(self.prepared_uri).shard_uri(self._shards[shard].name)
        return InputError(f"{uri}: the shard is damaged in {named}: {why}; {self._cure}")


class OpenShard:
    """The row groups of an open shard.

    Raises:
        ValueError: they have other rows or columns than the manifest says.
    """

    def __init__(self, file: pq.ParquetFile, num_rows: int) -> None:
        metadata = file.metadata
        self._file, self.num_groups = file, metadata.num_row_groups
        sizes = [metadata.row_group(n).num_rows for n in range(self.num_groups)]
        self.ends = np.cumsum(sizes)
        if sum(sizes) != num_rows or min(sizes) < 1 or not file.schema_arrow.equals(ROW_SCHEMA):
            raise ValueError("other rows or columns than the manifest says")

    def locate(self, row: int) -> tuple[int, int]:
        """The row group of a row, and its number in the group."""
        group = int(np.searchsorted(self.ends, row, side="right"))
        return group, row - self.first_row(group)

    def first_row(self, group: int) -> int:
        """Number of the first row of a row group."""
        return int(self.ends[group - 1]) if group else 0

    def read(self, group: int, columns: list[str] | None = None) -> pa.Table:
        """The rows of a row group, all or some of their columns."""
        return self._file.read_row_group(group, columns, use_threads=False)


def _print(row: Mapping[str, Any]) -> Print:
    seen = look(row["image"]) or open_picture(row["image"])[0]
    bits = None if seen is None else difference_hash(seen)
    sha256 = hashlib.sha256(row["image"]).digest()
    return Print(image=row["image_id"], uri=row["file_name"], sha256=sha256, difference_hash=bits)


def open_shard(prepared_uri: str, info: ShardInfo, *, checksums: bool = True) -> OpenShard:
    """Open a shard.

    Raises:
        InputError: it is missing, its size is wrong, or it is not a Parquet file of these rows.
    """
    uri = PreparedFolder(prepared_uri).shard_uri(info.name)
    try:
        stream = storage.open_file(uri)
        if (size := stream.size()) != info.num_bytes:
            raise OSError(f"{size} bytes, not {info.num_bytes}")
        file = pq.ParquetFile(stream, page_checksum_verification=checksums, pre_buffer=True)
        return OpenShard(file, info.num_rows)
    except FileNotFoundError:
        raise InputError(f"{uri}: the shard is missing; {CURE.format(prepared_uri)}") from None
    except DAMAGE as error:
        raise_if_passing(error)
        why = str(error).strip()[:120]
        raise InputError(f"{uri}: the shard is damaged ({why}); {CURE.format(prepared_uri)}") from None


def raise_if_passing(error: Exception) -> None:
    """Raise an error with a number of the system's: a stale handle, or too many open files, says nothing of a shard."""
    if isinstance(error, OSError) and error.errno:
        raise error


def damaged_rows(
    prepared_uri: str, info: ShardInfo, digests: Sequence[str], groups: Sequence[int] | None = None
) -> list[int]:
    """Numbers of the rows of a shard whose content does not match its digest.

    Args:
        digests: of all rows of the shard.
        groups: row groups to check; None: all.
    """
    shard = open_shard(prepared_uri, info, checksums=False)
    damaged: list[int] = []
    for group in range(shard.num_groups) if groups is None else groups:
        first = shard.first_row(group)
        expected = digests[first : int(shard.ends[group])]
        try:
            rows = shard.read(group).to_pylist()
            intact = [row["sha256"] == sha == row_digest(row) for row, sha in zip(rows, expected, strict=True)]
        except DAMAGE as error:
            raise_if_passing(error)
            intact = [False] * len(expected)
        damaged += [first + n for n, good in enumerate(intact) if not good]
    return damaged
