"""`gc`: what killed and refused work has left in the store: shards, checkpoints, parts of evaluations, half uploads."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aunet.errors import InputError
from pipelines.data.manifest import Manifest
from pipelines.data.shard_writer import read_receipts
from pipelines.store import storage
from pipelines.store.artifacts import VerbResult
from pipelines.store.in_use import writers
from pipelines.store.layout import MANIFEST, PreparedFolder, PreparedPool, Store
from pipelines.store.run_folder import RunFolder
from pipelines.store.uploads import Upload, unfinished_uploads
from pipelines.tracking.abandoned import close_abandoned

Orphan = tuple[str, list[storage.FileInfo]]
"""URI, and the files that are deleted with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected(VerbResult):
    """What was deleted, or would be."""

    deleted: tuple[str, ...]
    """URIs of files and folders."""
    aborted: tuple[str, ...] = ()
    """URIs of objects whose upload in parts was begun and never finished; what came of them was removed."""
    closed: tuple[str, ...] = ()
    """Ids of MLflow runs that were marked as KILLED: they said RUNNING, though nobody drives them."""
    num_bytes: int
    dry_run: bool

    def to_json(self) -> dict[str, Any]:
        """`deleted`, `aborted`, `bytes`, `closed` and `dry_run`."""
        return {
            "deleted": list(self.deleted),
            "aborted": list(self.aborted),
            "bytes": self.num_bytes,
            "closed": list(self.closed),
            "dry_run": self.dry_run,
        }


def gc(*, dry_run: bool = False, older_than_hours: float = 24.0) -> Collected:
    """Delete what nothing refers to in the store that AUNET_STORE names, and close what nobody drives in MLflow.

    In a bucket also abort uploads in parts that were never finished.

    Kept are the shards and indexes of every manifest with their receipts, and the checkpoints from which a run resumes.
    Receipts and shards that no manifest has, and parts of evaluations, belong to work that was begun: deleting them
    costs that work. Left alone, whatever its age, is what somebody is writing, what has not the name of such a file,
    and what is behind a link.

    Args:
        dry_run: only list what would be deleted.
        older_than_hours: leave what is younger, which somebody may be about to use.

    Raises:
        InputError: the folder is not marked as a store, or a manifest cannot be read; nothing is deleted then.
    """
    if not (math.isfinite(older_than_hours) and older_than_hours >= 0):
        raise InputError(f"--older-than-hours = {older_than_hours}: use a number of 0 or more")
    store = Store.here()
    store.check_claimed()
    oldest = time.time_ns() - older_than_hours * 3600e9
    pools, runs = store.without_links()
    # Asked before the folders are listed: of whoever ends meanwhile, the manifest may come too late for the listing.
    busy = {folder.in_use_uri: writers(folder.in_use_uri) for folder in (*pools, *runs)}
    orphans = {
        **{pool.in_use_uri: list(_prepared(pool)) for pool in pools},
        **{run.in_use_uri: [*_checkpoints(run), *_parts(run)] for run in runs},
    }
    old = {marks: [orphan for orphan in some if _is_old(orphan, oldest)] for marks, some in orphans.items()}
    uploads = _uploads(store, old, oldest)
    deleted: list[Orphan] = []
    for marks_uri, some in old.items():
        for uri, files in some:  # receipts before shards: without one, a `preprocess` does not count on its shard
            if held := busy[marks_uri] or writers(marks_uri):  # or somebody has begun since
                print(f"{storage.parent(marks_uri)}: left alone, written by {held[0]}", file=sys.stderr)
                break
            print(f"{'would delete' if dry_run else 'deleting'} {uri}", file=sys.stderr)
            if not dry_run:
                storage.delete(uri)
            deleted.append((uri, files))
    num_bytes = sum(f.size for _, files in deleted for f in files) + sum(upload.num_bytes() for upload in uploads)
    for upload in uploads:
        print(f"{'would abort' if dry_run else 'aborting'} the upload of {upload.uri}", file=sys.stderr)
        if not dry_run:
            upload.abort()
    young = sum(map(len, orphans.values())) - sum(map(len, old.values()))
    more = f"; {young} more are younger than {older_than_hours:g} hours" if young else ""
    print(f"{store.uri}: {len(deleted) + len(uploads)} orphans, {num_bytes / 1e9:.2f} GB{more}", file=sys.stderr)
    return Collected(
        deleted=tuple(uri for uri, _ in deleted),
        aborted=tuple(upload.uri for upload in uploads),
        num_bytes=num_bytes,
        closed=close_abandoned(runs, dry_run=dry_run),
        dry_run=dry_run,
    )


def _is_old(orphan: Orphan, oldest: float) -> bool:
    """Whether all files were written before `oldest`, in nanoseconds since 1970; a folder without files is new."""
    return bool(orphan[1]) and all(file.modified < oldest for file in orphan[1])


def _uploads(store: Store, marks_uris: Iterable[str], oldest: float) -> list[Upload]:
    """Those that were begun before `oldest`, outside of folders that somebody is writing."""
    old = [upload for upload in unfinished_uploads(store.uri) if upload.begun < oldest]
    # Asked after the listing: whoever sends one of these has marked its folder before.
    held = tuple(f"{storage.parent(uri)}/" for uri in marks_uris if writers(uri))
    return [upload for upload in old if not upload.uri.startswith(held)]


def _prepared(pool: PreparedPool) -> Iterator[Orphan]:
    """Shards, receipts and indexes that no manifest needs."""
    files = {storage.join(pool.uri, f.path): f for f in storage.list_files(pool.uri, follow_links=False)}
    kept: set[str] = set()
    for uri in files:
        if uri.endswith(f"/{MANIFEST}"):
            folder = PreparedFolder(storage.parent(uri))
            splits = Manifest.load(folder.uri).splits.values()
            kept |= {uri, *(folder.index_uri(split.index.name) for split in splits)}
            kept |= {folder.shard_uri(shard.name) for split in splits for shard in split.shards}
    keys = [Path(uri).stem for uri in files if uri.startswith(f"{pool.receipts_uri}/")]
    for key, receipt in read_receipts(pool, keys):
        if receipt.shard and storage.join(pool.shards_uri, receipt.shard.name) in kept:
            kept.add(pool.receipt_uri(key))
    foreign = [file.path for uri, file in files.items() if uri not in kept and not pool.is_own(file.path)]
    if foreign:
        print(f"{pool.uri}: left alone, {len(foreign)} files of others, such as {foreign[0]}", file=sys.stderr)
    yield from ((uri, [f]) for uri, f in sorted(files.items()) if uri not in kept and pool.is_own(f.path))


def _checkpoints(run: RunFolder) -> Iterator[Orphan]:
    """Checkpoints that were never completed, or were found damaged."""
    for checkpoint in run.checkpoints.others():
        yield checkpoint.uri, _files(checkpoint.uri)


def _parts(run: RunFolder) -> Iterator[Orphan]:
    """What evaluations have measured that never came to an end."""
    for report in run.reports():
        for parts in report.left_parts():
            yield parts.uri, _files(parts.uri)


def _files(uri: str) -> list[storage.FileInfo]:
    """What is in a folder; nothing where a training or an evaluation has deleted it meanwhile."""
    try:
        return storage.list_files(uri, follow_links=False)
    except InputError:
        if storage.exists(uri):
            raise
        return []
