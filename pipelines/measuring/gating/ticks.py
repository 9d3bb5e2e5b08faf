"""What the ticks of a scheduled retraining leave in the store: the frozen set, and records of those that trained."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from aunet.categories import difference
from aunet.config_json import from_json
from aunet.errors import InputError
from pipelines.data.manifest import Manifest
from pipelines.data.shards import ShardReader
from pipelines.store import storage
from pipelines.store.artifacts import PreparedData, VerbResult
from pipelines.store.layout import RetrainFolder
from pipelines.store.stored_json import read_stored


@dataclass(frozen=True, kw_only=True, slots=True)
class EndedTick(VerbResult):
    """The record of a tick that has trained, as it is in the store."""

    finished: str
    decision: str
    reason: str
    key: str
    prepared: dict[str, Any]
    run: dict[str, Any]
    report: dict[str, Any]
    model: dict[str, Any]

    @classmethod
    def read(cls, uri: str) -> EndedTick:
        """The record at `uri`.

        Raises:
            InputError: it is damaged.
        """
        return cls.from_fields(read_stored(uri, "delete it and run `retrain` again"), uri)


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenSet:
    """The validation split that every night's model is measured on."""

    prepared: PreparedData
    val_fingerprint: str
    is_new: bool
    """Whether this call has frozen it."""


def frozen_set(folder: RetrainFolder, prepared: PreparedData) -> FrozenSet:
    """The frozen set, which is the validation split of the first tick.

    Raises:
        InputError: it is no longer what it was, or has other categories than today's data.
    """
    uri = folder.frozen_uri
    today = Manifest.load(prepared.uri)
    first = {"prepared": asdict(prepared), "val_fingerprint": today.split_fingerprint("val"), "since": moment()}
    is_new = storage.create_exclusive(uri, json.dumps(first, indent=1).encode())
    plain = read_stored(uri, "delete it to freeze anew")
    frozen = FrozenSet(
        prepared=PreparedData.from_fields(plain.get("prepared"), uri),
        val_fingerprint=from_json(str, plain.get("val_fingerprint"), f"{uri}: val_fingerprint"),
        is_new=is_new,
    )
    manifest = Manifest.load(frozen.prepared.uri)
    if manifest.split_fingerprint("val") != frozen.val_fingerprint:
        raise InputError(f"{frozen.prepared.uri}: not what {uri} froze; restore it, or delete {uri} to freeze anew")
    if difference(manifest.categories.entries, today.categories.entries):
        raise InputError(
            f"{uri}: the frozen set has other categories than today's data; delete the file to freeze anew"
        )
    return frozen


def news(folder: RetrainFolder, prepared: PreparedData) -> str:
    """What is new since the last tick that ended, in words."""
    newest = folder.newest_tick_uri()
    if newest is None:
        counts = " and ".join(f"{count} {split}" for split, count in prepared.num_images.items())
        return f"first tick, {counts} images"
    ended = EndedTick.read(newest)
    then = PreparedData.from_fields(ended.prepared, newest)
    try:
        before = _images(then.uri)
    except InputError:
        return f"the data of the tick of {ended.finished} no longer exist; all images count as new"
    now = _images(prepared.uri)
    if now == before:
        return "0 new images, 0 gone; new are the code, the settings or the frozen set"
    return f"{len(now - before)} new images, {len(before - now)} gone"


def moment() -> str:
    """This moment, as the records write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _images(prepared_uri: str) -> set[tuple[str, str]]:
    """Every image with its annotation, by split and hash."""
    return {(split, digest) for split in ("train", "val") for digest in ShardReader(prepared_uri, split).digests}
