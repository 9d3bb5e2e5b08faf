"""The manifest of prepared data: the one file by which its shards are found, written once and last."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from aunet.categories import Categories
from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.layout import PreparedFolder

SCHEMA_VERSION = 2
"""Raised when old shards can no longer be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardInfo:
    """One Parquet file: a shard in the folder that all manifests share, or an index beside the manifest."""

    name: str
    num_rows: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """A reason why an image was left out: one defect of the raw data."""

    image: int | str | None
    """Image id; None where the entry has none."""
    rule: str
    """As in `lint-data`."""
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitInfo:
    """One split: its shards in order, and what is in them."""

    shards: tuple[ShardInfo, ...]
    index: ShardInfo
    """Ids, sizes and digests of all rows, see `rows`."""
    rows_sha256: str
    """SHA-256 over the digests of all rows, in their order."""
    num_images: int
    num_segments: dict[int, int]
    """category_id → segments, crowds included."""
    max_segments: int
    """Of one image."""
    num_quarantined: int = 0
    """Images of the source that are not among `num_images`."""
    quarantined: tuple[Quarantined, ...] = ()
    """Why."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What was committed: every shard with its hash, and the categories."""

    categories: Categories
    splits: dict[str, SplitInfo]
    source_fingerprint: str
    """Names the raw files and the data configuration that this was made from."""
    code_version: str = ""
    """Of the code that made it."""

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that name the content: the rows of all splits and the categories, however they are cut."""
        return self._name({name: split.rows_sha256 for name, split in self.splits.items()})

    def split_fingerprint(self, split: str) -> str:
        """16 hex digits that name the content of one split: its rows and the categories."""
        return self._name({split: self.splits[split].rows_sha256})

    def _name(self, rows: dict[str, str]) -> str:
        plain = json.dumps([SCHEMA_VERSION, rows, self.categories.to_json()], sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()[:16]

    def to_bytes(self) -> bytes:
        """As JSON, the same bytes for the same content, with a SHA-256 over it all."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "fingerprint": self.fingerprint,
            "source_fingerprint": self.source_fingerprint,
            "code_version": self.code_version,
            "categories": self.categories.to_json(),
            "splits": {name: asdict(split) for name, split in self.splits.items()},
        }
        plain = json.loads(json.dumps(document))  # all keys as strings, as they are read back
        return (json.dumps({**plain, "sha256": _digest(plain)}, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def load(cls, prepared_uri: str) -> Manifest:
        """Read the manifest of prepared data.

        Raises:
            InputError: there is none, it is damaged, or another version wrote it.
        """
        uri = PreparedFolder(prepared_uri).manifest_uri
        if not storage.exists(uri):
            raise InputError(f"{uri}: no such manifest; run `preprocess` first or correct the URI")
        try:
            plain = json.loads(storage.read_bytes(uri))
            version, sha256 = plain["schema_version"], plain.pop("sha256", "")
            if version != SCHEMA_VERSION:
                raise InputError(
                    f"{uri}: schema_version is {version}, this program reads {SCHEMA_VERSION}; run `preprocess` again"
                )
            if sha256 != _digest(plain):
                raise InputError(f"{uri}: damaged (its SHA-256 does not match); delete it and run `preprocess` again")
            return cls(
                categories=Categories.from_json(plain["categories"], uri),
                splits={name: _split_from_json(split) for name, split in plain["splits"].items()},
                source_fingerprint=plain["source_fingerprint"],
                code_version=plain["code_version"],
            )
        except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"{uri}: damaged ({error!r}); delete it and run `preprocess` again") from None


def _digest(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _split_from_json(plain: dict[str, Any]) -> SplitInfo:
    return SplitInfo(
        **{
            **plain,
            "shards": tuple(ShardInfo(**s) for s in plain["shards"]),
            "index": ShardInfo(**plain["index"]),
            "num_segments": {int(k): v for k, v in plain["num_segments"].items()},
            "quarantined": tuple(Quarantined(**q) for q in plain["quarantined"]),
        }
    )
