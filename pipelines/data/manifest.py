"""The manifest of prepared data: the one file by which its shards are found, written once and last."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Annotated, Any

from aunet.categories import Categories
from aunet.config_json import from_json
from aunet.errors import InputError, check
from aunet.names import check_name
from aunet.ranges import Count, Range, check_ranges
from pipelines.store import storage
from pipelines.store.artifacts import PreparedData
from pipelines.store.layout import PreparedFolder
from pipelines.store.stored_json import stored_object

SCHEMA_VERSION = 2
"""Raised when old shards can no longer be read."""
CURE = "delete it and run `preprocess` again"
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardInfo:
    """One Parquet file: a shard in the folder that all manifests share, or an index beside the manifest."""

    name: str
    num_rows: Count
    num_bytes: Count
    sha256: str

    def __post_init__(self) -> None:
        check_ranges(self, "shard")
        check_name("shard.name", self.name)
        check(bool(_SHA256.fullmatch(self.sha256)), "shard.sha256", self.sha256, "use 64 hex digits")


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
    num_images: Count
    num_segments: dict[int, int]
    """category_id → segments, crowds included."""
    max_segments: Annotated[int, Range(at_least=0, below=2**24)]
    """Of one image."""
    window: Annotated[int, Range(at_least=0, below=2**31)] = 0
    """Of the order of training, see `SamplePlan`; 0 in what earlier versions wrote, whose runs keep their order."""
    num_quarantined: Annotated[int, Range(at_least=0, below=2**31)] = 0
    """Images of the source that are not among `num_images`."""
    quarantined: tuple[Quarantined, ...] = ()
    """Why."""

    def __post_init__(self) -> None:
        check_ranges(self, "split")
        check(bool(_SHA256.fullmatch(self.rows_sha256)), "split.rows_sha256", self.rows_sha256, "use 64 hex digits")
        rows = sum(shard.num_rows for shard in self.shards)
        check(self.num_images == rows == self.index.num_rows > 0, "split.num_images", self.num_images, f"{rows} rows")
        most = self.num_images * self.max_segments
        odd = [(key, count) for key, count in self.num_segments.items() if not 0 <= count <= most]
        check(not odd, "split.num_segments", odd[:1], f"count 0 … {most} segments")


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

    def artifact(self, prepared_uri: str) -> PreparedData:
        """The prepared data in whose folder this is."""
        return PreparedData(
            uri=prepared_uri,
            fingerprint=self.fingerprint,
            num_images={name: split.num_images for name, split in self.splits.items()},
            num_quarantined={name: split.num_quarantined for name, split in self.splits.items()},
        )

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
        return cls.from_bytes(storage.read_bytes(uri), uri)

    @classmethod
    def from_bytes(cls, data: bytes, uri: str) -> Manifest:
        """The manifest in the content of the file at `uri`.

        Raises:
            InputError: it is damaged, or another version wrote it.
        """
        plain = stored_object(data, uri, CURE)
        version, sha256 = plain.get("schema_version"), plain.pop("sha256", "")
        if type(version) is not int:
            raise InputError(f"{uri}: damaged (lacks schema_version, a number); {CURE}")
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{uri}: schema_version is {version}, this program reads {SCHEMA_VERSION}; run `preprocess` again"
            )
        if sha256 != _digest(plain):
            raise InputError(f"{uri}: damaged (its SHA-256 does not match); {CURE}")
        try:
            manifest = cls(
                categories=Categories.from_json(from_json(tuple[Any, ...], plain.get("categories"), "categories")),
                splits=from_json(dict[str, SplitInfo], plain.get("splits"), "splits"),
                source_fingerprint=from_json(str, plain.get("source_fingerprint"), "source_fingerprint"),
                code_version=from_json(str, plain.get("code_version"), "code_version"),
            )
            check(
                plain.get("fingerprint") == manifest.fingerprint, "fingerprint", plain.get("fingerprint"), "not its own"
            )
            return manifest
        except InputError as error:
            raise InputError(f"{uri}: damaged ({problem}); {CURE}" for problem in error.problems) from None


def _digest(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
