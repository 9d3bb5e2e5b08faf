"""`verify`: every hash of prepared data, a run, a model or a whole store, read again; names what is damaged."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from aunet.errors import InputError
from pipelines import storage
from pipelines.checkpoint import HASHES
from pipelines.data.manifest import Manifest, ShardInfo, shard_uri

READERS = 8
"""Files read at once."""
CHUNK = 8 * 2**20
"""Bytes read at a time."""
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file, and what was written down for it."""

    uri: str
    sha256: str
    prepared_uri: str = ""
    """Of a shard, the manifest's folder; else empty."""
    shard: ShardInfo | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """A file that is not what it was."""

    uri: str
    problem: str
    rows: tuple[int, ...] = ()
    """Of a shard, the damaged rows, where they can be told."""


def verify(uri: str) -> dict[str, Any]:
    """Read everything again that has a hash.

    Args:
        uri: of prepared data, a run, a model folder, or a store, of which all of these are read.

    Returns:
        `files` and `bytes` read, `damaged` (`uri`, `problem`, `rows`), and `problems`: the same in words, whereupon
        the exit code is 2.

    Raises:
        InputError: there is nothing with hashes at `uri`.
    """
    place = storage.absolute(uri)
    manifests, folders = _contents(place)
    if not manifests and not folders:
        raise InputError(
            f"{uri}: no {MANIFEST} and no {HASHES} below it; name prepared data, a run, a model or a store"
        )
    damaged: list[Damage] = []
    files: dict[str, File] = {}
    for find, places in ((_of_manifest, manifests), (_of_folder, folders)):
        for found in places:
            try:
                files |= {file.uri: file for file in find(found)}
            except (InputError, ValueError, TypeError, AttributeError) as error:
                damaged.append(Damage(uri=found, problem=str(error)))
    num_bytes = 0
    with ThreadPoolExecutor(READERS) as threads:
        for size, damage in threads.map(_check, files.values()):
            num_bytes += size
            damaged += [damage] if damage else []
    for one in damaged:
        print(f"damaged: {_said(one)}", file=sys.stderr)
    print(f"{place}: {len(files)} files, {num_bytes / 1e9:.2f} GB, {len(damaged)} damaged", file=sys.stderr)
    return {
        "uri": place,
        "files": len(files),
        "bytes": num_bytes,
        "damaged": [asdict(one) for one in damaged],
        "problems": [_said(one) for one in damaged],
    }


def _contents(place: str) -> tuple[list[str], list[str]]:
    """Below `place`: folders with a manifest, and folders with a list of hashes."""
    names = [f.path for f in storage.list_files(place)]
    folders = {
        end: [n[: -len(end)].rstrip("/") for n in names if f"/{n}".endswith(f"/{end}")] for end in (MANIFEST, HASHES)
    }
    manifests, hashed = ([storage.join(place, folder) for folder in found] for found in folders.values())
    return manifests, hashed


def _of_manifest(prepared_uri: str) -> Iterator[File]:
    manifest = Manifest.load(prepared_uri)
    for split in manifest.splits.values():
        yield File(uri=storage.join(prepared_uri, split.index.name), sha256=split.index.sha256)
        for shard in split.shards:
            yield File(uri=shard_uri(prepared_uri, shard), sha256=shard.sha256, prepared_uri=prepared_uri, shard=shard)


def _of_folder(uri: str) -> Iterator[File]:
    """The files of a model or a checkpoint; one that is not listed has come later."""
    for name, sha256 in json.loads(storage.read_bytes(storage.join(uri, HASHES))).items():
        yield File(uri=storage.join(uri, name), sha256=sha256)


def _check(file: File) -> tuple[int, Damage | None]:
    """Bytes read, and what is wrong."""
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
        return size, None
    rows = _rows(file)
    where = f"in {'row' if len(rows) == 1 else 'rows'} {', '.join(map(str, rows))}: " if rows else ""
    return size, Damage(uri=file.uri, problem=f"{where}its SHA-256 is not what was written down", rows=rows)


def _rows(file: File) -> tuple[int, ...]:
    """The damaged rows of a shard; none where they cannot be told."""
    if file.shard is None:
        return ()
    from pipelines.data.shards import ShardReader, damaged_rows

    try:
        for name, split in Manifest.load(file.prepared_uri).splits.items():
            if file.shard in split.shards:
                first = sum(s.num_rows for s in split.shards[: split.shards.index(file.shard)])
                digests = ShardReader(file.prepared_uri, name).digests[first : first + file.shard.num_rows]
                return tuple(damaged_rows(file.prepared_uri, file.shard, digests))
    except InputError:
        pass
    return ()


def _said(damage: Damage) -> str:
    cure = (
        "delete it, run `preprocess` again" if damage.uri.endswith(".parquet") else "restore it, or remove its folder"
    )
    return f"{damage.uri}: {damage.problem}; {cure}"
