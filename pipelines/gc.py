"""`gc`: what killed and refused runs have left in the store, and nothing refers to: shards, checkpoints."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from aunet.errors import InputError
from pipelines import storage
from pipelines.checkpoint import SNAPSHOT
from pipelines.data.manifest import Manifest
from pipelines.data.shard_writer import read_receipts

CHECKPOINT = "checkpoint_"


def gc(*, dry_run: bool = False, older_than_hours: float = 24.0) -> dict[str, Any]:
    """Delete what nothing refers to in the store that AUNET_STORE names.

    Kept are the shards and indexes of every manifest with their receipts, and the checkpoints that a run goes on from.
    Receipts and shards that are no part of a manifest are of work that was begun: deleting them costs that work.

    Args:
        dry_run: only say what would be deleted.
        older_than_hours: leave what is younger, which somebody may be about to use.

    Returns:
        `deleted` (URIs; with `dry_run` those that would be), `bytes` and `dry_run`.

    Raises:
        InputError: a manifest or a run's list of checkpoints cannot be read; nothing is deleted then.
    """
    root = storage.store_root()
    if not storage.exists(root):
        raise InputError(f"AUNET_STORE = {root}: no such store; name one that was written to")
    oldest = time.time_ns() - int(older_than_hours * 3600e9)
    found = [*_prepared(storage.join(root, "prepared")), *_checkpoints(storage.join(root, "runs"))]
    orphans = [(uri, files) for uri, files in found if all(f.modified < oldest for f in files)]
    num_bytes = sum(f.size for _, files in orphans for f in files)
    for uri, _ in orphans:
        print(f"{'would delete' if dry_run else 'deleting'} {uri}", file=sys.stderr)
        if not dry_run:
            storage.delete(uri)
    young = len(found) - len(orphans)
    print(
        f"{root}: {len(orphans)} orphans, {num_bytes / 1e9:.2f} GB"
        + (f"; {young} more are younger than {older_than_hours:g} hours" if young else ""),
        file=sys.stderr,
    )
    return {"deleted": [uri for uri, _ in orphans], "bytes": num_bytes, "dry_run": dry_run}


Orphan = tuple[str, list[storage.FileInfo]]
"""URI, and the files that go with it."""


def _prepared(place: str) -> Iterator[Orphan]:
    """Shards, receipts and indexes that no manifest needs."""
    files = {f.path: f for f in storage.list_files(place)} if storage.exists(place) else {}
    kept: set[str] = set()
    for path in files:
        if path.endswith("/manifest.json"):
            folder = path.rsplit("/", 1)[0]
            splits = Manifest.load(storage.join(place, folder)).splits.values()
            kept |= {path, *(f"{folder}/{s.index.name}" for s in splits)}
            kept |= {f"shards/{shard.name}" for split in splits for shard in split.shards}
    keys = [path.removeprefix("receipts/").removesuffix(".json") for path in files if path.startswith("receipts/")]
    for key, receipt in read_receipts(place, keys).items():
        if receipt.shard and f"shards/{receipt.shard.name}" in kept:
            kept.add(f"receipts/{key}.json")
    for path, file in files.items():
        if path not in kept:
            yield storage.join(place, path), [file]


def _checkpoints(place: str) -> Iterator[Orphan]:
    """Checkpoint folders that their run does not list."""
    for run in storage.list_folders(place):
        uri = storage.join(place, run)
        names = [name for name in storage.list_folders(uri) if name.startswith(CHECKPOINT)]
        if not names:
            continue
        listed = _listed(storage.join(uri, SNAPSHOT))
        for name in names:
            if name not in listed:
                folder = storage.join(uri, name)
                yield folder, storage.list_files(folder)


def _listed(snapshot_uri: str) -> set[str]:
    """Names of the checkpoints by which a run goes on."""
    if not storage.exists(snapshot_uri):
        return set()
    try:
        plain = json.loads(storage.read_bytes(snapshot_uri))
        results = [*plain["checkpoint_results"], plain["latest_checkpoint_result"]]
        return {result["checkpoint_dir_name"] for result in results if result}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{snapshot_uri}: damaged ({error!r}); restore it, or remove its run") from None
