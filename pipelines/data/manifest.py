"""The manifest of prepared data: the one file by which its shards are found, written once and last."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from aunet.categories import Categories
from aunet.errors import InputError
from pipelines import storage

SCHEMA_VERSION = 1
"""Goes up when old shards can no longer be read as new ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardInfo:
    """One Parquet file below the manifest's folder."""

    name: str
    num_rows: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitInfo:
    """One split: its shards in order, and what is in them."""

    shards: tuple[ShardInfo, ...]
    num_images: int
    num_segments: dict[int, int]
    """category_id → segments, crowds included."""
    max_segments: int
    """Of one image."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What was committed: every shard with its hash, and the categories."""

    categories: Categories
    splits: dict[str, SplitInfo]
    source_fingerprint: str
    """Names the raw files and the data configuration that this was made from."""

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that name the content: the shards' hashes and the categories."""
        hashes = {name: [s.sha256 for s in split.shards] for name, split in self.splits.items()}
        plain = json.dumps([SCHEMA_VERSION, hashes, self.categories.to_json()], sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()[:16]

    def split_fingerprint(self, split: str) -> str:
        """16 hex digits that name the content of one split: its shards' hashes and the categories."""
        hashes = [shard.sha256 for shard in self.splits[split].shards]
        plain = json.dumps([SCHEMA_VERSION, split, hashes, self.categories.to_json()], sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()[:16]

    def to_bytes(self) -> bytes:
        """As JSON, the same bytes for the same content."""
        plain = {
            "schema_version": SCHEMA_VERSION,
            "fingerprint": self.fingerprint,
            "source_fingerprint": self.source_fingerprint,
            "categories": self.categories.to_json(),
            "splits": {name: asdict(split) for name, split in self.splits.items()},
        }
        return (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def load(cls, prepared_uri: str) -> Manifest:
        """Read the manifest of prepared data.

        Raises:
            InputError: there is none, it is damaged, or another version wrote it.
        """
        uri = manifest_uri(prepared_uri)
        if not storage.exists(uri):
            raise InputError(f"{uri}: no such manifest; run `preprocess` first or correct the URI")
        try:
            plain = json.loads(storage.read_bytes(uri))
            version = plain["schema_version"]
            if version != SCHEMA_VERSION:
                raise InputError(
                    f"{uri}: schema_version is {version}, this program reads {SCHEMA_VERSION}; run `preprocess` again"
                )
            manifest = cls(
                categories=Categories.from_json(plain["categories"], uri),
                splits={name: _split_from_json(split) for name, split in plain["splits"].items()},
                source_fingerprint=plain["source_fingerprint"],
            )
        except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"{uri}: damaged ({error!r}); delete it and run `preprocess` again") from None
        if manifest.fingerprint != plain["fingerprint"]:
            raise InputError(f"{uri}: damaged (fingerprint does not fit); delete it and run `preprocess` again")
        return manifest


def manifest_uri(prepared_uri: str) -> str:
    """Where the manifest of prepared data lies."""
    return storage.join(prepared_uri, "manifest.json")


def _split_from_json(plain: dict[str, Any]) -> SplitInfo:
    return SplitInfo(
        shards=tuple(ShardInfo(**s) for s in plain["shards"]),
        num_images=plain["num_images"],
        num_segments={int(k): v for k, v in plain["num_segments"].items()},
        max_segments=plain["max_segments"],
    )
