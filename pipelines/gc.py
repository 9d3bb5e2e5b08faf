"""`gc`: what killed and refused runs have left in the store, and nothing refers to: shards, checkpoints."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aunet.errors import InputError
from pipelines.data.manifest import Manifest
from pipelines.data.shard_writer import read_receipts
from pipelines.store import storage
from pipelines.store.artifacts import VerbResult
from pipelines.store.layout import MANIFEST, PreparedFolder, PreparedPool, Store
from pipelines.store.run_folder import RunFolder

Orphan = tuple[str, list[storage.FileInfo]]
"""URI, and the files that are deleted with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected(VerbResult):
    """What was deleted, or would be."""

    deleted: tuple[str, ...]
    """URIs of files and folders."""
    num_bytes: int
    dry_run: bool

    def to_json(self) -> dict[str, Any]:
        """`deleted`, `bytes` and `dry_run`."""
        return {"deleted": list(self.deleted), "bytes": self.num_bytes, "dry_run": self.dry_run}


def gc(*, dry_run: bool = False, older_than_hours: float = 24.0) -> Collected:
    """Delete what nothing refers to in the store that AUNET_STORE names.

    Kept are the shards and indexes of every manifest with their receipts, and the checkpoints from which a run resumes.
    Receipts and shards that no manifest has belong to work that was begun: deleting them costs that work.

    Args:
        dry_run: only list what would be deleted.
        older_than_hours: leave what is younger, which somebody may be about to use.

    Raises:
        InputError: a manifest or a run's list of checkpoints cannot be read; nothing is deleted then.
    """
    store = Store.here()
    if not store.exists():
        raise InputError(f"AUNET_STORE = {store.uri}: no such store; name one that was written to")
    oldest = time.time_ns() - int(older_than_hours * 3600e9)
    orphans = [*_prepared(store.pool), *(orphan for run in store.runs() for orphan in _checkpoints(run))]
    old = [(uri, files) for uri, files in orphans if all(f.modified < oldest for f in files)]
    num_bytes = sum(f.size for _, files in old for f in files)
    for uri, _ in old:
        print(f"{'would delete' if dry_run else 'deleting'} {uri}", file=sys.stderr)
        if not dry_run:
            storage.delete(uri)
    young = len(orphans) - len(old)
    more = f"; {young} more are younger than {older_than_hours:g} hours" if young else ""
    print(f"{store.uri}: {len(old)} orphans, {num_bytes / 1e9:.2f} GB{more}", file=sys.stderr)
    return Collected(deleted=tuple(uri for uri, _ in old), num_bytes=num_bytes, dry_run=dry_run)


def _prepared(pool: PreparedPool) -> Iterator[Orphan]:
    """Shards, receipts and indexes that no manifest needs."""
    files = {storage.join(pool.uri, f.path): f for f in storage.list_files(pool.uri)} if pool.exists() else {}
    kept: set[str] = set()
    for uri in files:
        if uri.endswith(f"/{MANIFEST}"):
            folder = PreparedFolder(storage.parent(uri))
            splits = Manifest.load(folder.uri).splits.values()
            kept |= {uri, *(folder.index_uri(split.index.name) for split in splits)}
            kept |= {folder.shard_uri(shard.name) for split in splits for shard in split.shards}
    keys = [Path(uri).stem for uri in files if uri.startswith(f"{pool.receipts_uri}/")]
    for key, receipt in read_receipts(pool, keys).items():
        if receipt.shard and storage.join(pool.shards_uri, receipt.shard.name) in kept:
            kept.add(pool.receipt_uri(key))
    yield from ((uri, [file]) for uri, file in files.items() if uri not in kept)


def _checkpoints(run: RunFolder) -> Iterator[Orphan]:
    """Checkpoint folders that their run does not list."""
    names = run.checkpoints()
    listed = run.listed_checkpoints() if names else {}
    for uri in (run.checkpoint_uri(name) for name in names if name not in listed):
        yield uri, storage.list_files(uri)
