"""`verify`: every hash of prepared data, a run, a model or a whole store, computed again; names what is damaged."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from aunet.errors import InputError
from aunet.model_files import HASHES
from pipelines.data.manifest import Manifest, ShardInfo
from pipelines.data.shards import ShardReader, damaged_rows
from pipelines.store import storage
from pipelines.store.artifacts import VerbResult
from pipelines.store.hashes import read_hashes
from pipelines.store.layout import MANIFEST, PreparedFolder

READERS = 8
"""Files read at once."""
CHUNK = 8 * 2**20
"""Bytes read at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file, and the hash that was recorded for it."""

    uri: str
    sha256: str
    """Empty: none was."""
    num_bytes: int | None = None
    """None: was not recorded."""
    prepared_uri: str = ""
    """Of a shard, the manifest's folder; else empty."""
    shard: ShardInfo | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """A file that is not what it was."""

    uri: str
    problem: str
    rows: tuple[int, ...] = ()
    """Of a shard, the damaged rows, where they are known."""

    def __str__(self) -> str:
        cure = (
            "delete it, run `preprocess` again" if self.uri.endswith(".parquet") else "restore it, or remove its folder"
        )
        return f"{self.uri}: {self.problem}; {cure}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification(VerbResult):
    """What was read, and what is damaged."""

    uri: str
    num_files: int
    num_bytes: int
    damaged: tuple[Damage, ...]

    @property
    def problems(self) -> list[str]:
        """What is damaged in words, each with its cure."""
        return [str(damage) for damage in self.damaged]

    def to_json(self) -> dict[str, Any]:
        """`uri`, `files` and `bytes` read, `damaged` (`uri`, `problem`, `rows`), and `problems`."""
        return {
            "uri": self.uri,
            "files": self.num_files,
            "bytes": self.num_bytes,
            "damaged": [asdict(damage) for damage in self.damaged],
            "problems": self.problems,
        }

    @property
    def exit_code(self) -> int:
        """2 where something is damaged."""
        return 2 if self.damaged else 0


def verify(uri: str) -> Verification:
    """Read everything again that has a hash.

    Args:
        uri: of prepared data, a run, a model folder, or a store, of which all of these are read.

    Raises:
        InputError: there is nothing with hashes at `uri`.
    """
    root = storage.absolute(uri)
    manifests, hashed = _contents(root)
    if not manifests and not hashed:
        raise InputError(
            f"{uri}: no {MANIFEST} and no {HASHES} below it; name prepared data, a run, a model or a store"
        )
    damaged: list[Damage] = []
    files: dict[str, File] = {}
    for find, folders in ((_of_manifest, manifests), (_of_hashes, hashed)):
        for folder in folders:
            try:
                files |= {file.uri: file for file in find(folder)}
            except (InputError, ValueError, TypeError, AttributeError) as error:
                damaged.append(Damage(uri=folder, problem=str(error)))
    num_bytes = 0
    with ThreadPoolExecutor(READERS) as threads:
        for size, damage in threads.map(_check, files.values()):
            num_bytes += size
            damaged += [damage] if damage else []
    for damage in damaged:
        print(f"damaged: {damage}", file=sys.stderr)
    print(f"{root}: {len(files)} files, {num_bytes / 1e9:.2f} GB, {len(damaged)} damaged", file=sys.stderr)
    return Verification(uri=root, num_files=len(files), num_bytes=num_bytes, damaged=tuple(damaged))


def _contents(root: str) -> tuple[list[str], list[str]]:
    """Below `root`: folders with a manifest, and folders with a list of hashes."""
    paths = [file.path for file in storage.list_files(root, follow_links=False)]

    def folders_with(name: str) -> list[str]:
        return [storage.join(root, path[: -len(name)]) for path in paths if f"/{path}".endswith(f"/{name}")]

    return folders_with(MANIFEST), folders_with(HASHES)


def _of_manifest(prepared_uri: str) -> Iterator[File]:
    folder, manifest = PreparedFolder(prepared_uri), Manifest.load(prepared_uri)
    for split in manifest.splits.values():
        index = split.index
        yield File(uri=folder.index_uri(index.name), sha256=index.sha256, num_bytes=index.num_bytes)
        for shard in split.shards:
            uri = folder.shard_uri(shard.name)
            yield File(uri=uri, sha256=shard.sha256, num_bytes=shard.num_bytes, prepared_uri=prepared_uri, shard=shard)


def _of_hashes(uri: str) -> Iterator[File]:
    """The files of a model or a checkpoint, and those that its list of hashes does not name."""
    hashes, unlisted = read_hashes(uri)
    for name in (*hashes, *unlisted):
        yield File(uri=storage.join(uri, name), sha256=hashes.get(name, ""))


def _check(file: File) -> tuple[int, Damage | None]:
    """Bytes read, and what is wrong."""
    if not file.sha256:
        return 0, Damage(uri=file.uri, problem=f"not listed in {HASHES}")
    digest, size = hashlib.sha256(), 0
    try:
        with storage.open_file(file.uri) as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
    except FileNotFoundError:
        return 0, Damage(uri=file.uri, problem="missing")
    except OSError as error:
        return size, Damage(uri=file.uri, problem=f"cannot be read ({str(error).strip()[:120]})")
    if digest.hexdigest() == file.sha256:
        longer = file.num_bytes not in (None, size)
        problem = f"has {size} bytes, its manifest says {file.num_bytes}; its SHA-256 is right"
        return size, Damage(uri=file.uri, problem=problem) if longer else None
    rows = _rows(file)
    where = f"in {'row' if len(rows) == 1 else 'rows'} {', '.join(map(str, rows))}: " if rows else ""
    return size, Damage(uri=file.uri, problem=f"{where}its SHA-256 is not the recorded one", rows=rows)


def _rows(file: File) -> tuple[int, ...]:
    """The damaged rows of a shard; none where they are not known."""
    if file.shard is None:
        return ()
    try:
        for name, split in Manifest.load(file.prepared_uri).splits.items():
            if file.shard in split.shards:
                first = sum(s.num_rows for s in split.shards[: split.shards.index(file.shard)])
                digests = ShardReader(file.prepared_uri, name).digests[first : first + file.shard.num_rows]
                return tuple(damaged_rows(file.prepared_uri, file.shard, digests))
    except InputError:
        pass
    return ()
