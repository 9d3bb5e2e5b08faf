"""One task of preprocessing: read the files of some images, check every pixel, write one Parquet file and a receipt.

The receipt is named after its task's inputs. A later run with the same task uses the receipt instead: one that was
killed resumes, and of a data set that grew only the new images are read.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from aunet.categories import Categories
from aunet.config_json import from_json
from aunet.data.cityscapes import decode_instance_ids, panoptic_of
from aunet.data.coco_panoptic import encode_panoptic
from aunet.data.defects import Defect, errors_of
from aunet.data.image_checks import ImageCheck, check_image
from aunet.data.instance_checks import check_instances
from aunet.data.instances import read_instances
from aunet.documents import read_object
from aunet.errors import InputError
from aunet.ranges import Count, check_ranges
from pipelines.data.manifest import SCHEMA_VERSION, ShardInfo
from pipelines.data.rows import INDEX_SCHEMA, encode_shard, row_digest
from pipelines.data.sources import RawImage, named
from pipelines.settings.run_config import SplitConfig
from pipelines.store import storage
from pipelines.store.layout import PreparedPool

READERS = 4
"""Images fetched ahead in every task."""
RECEIPT_READERS = 32
"""Receipts read at once."""
MAX_SHARD_BYTES = 256 * 2**20
"""Of the files of a shard, the last one not counted. A task needs four to six times that in memory."""
INDEX_TYPES = {
    "image_id": {int},
    "height": {int},
    "width": {int},
    "sha256": {str},
    "file_name": {str},
    "image_sha256": {str},
    "difference_hash": {int, type(None)},
}
"""Of the entries of an index."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTask:
    """What one task reads, and where it writes."""

    pool: PreparedPool
    """Folder of the shard and the receipt."""
    root: str
    config: SplitConfig
    categories: Categories
    images: tuple[RawImage, ...]

    @property
    def key(self) -> str:
        """32 hex digits that name the inputs: files, annotations and the format that is written."""
        settings = [SCHEMA_VERSION, bool(self.config.instance_ids), self.categories.to_json()]
        digest = hashlib.sha256(json.dumps(settings).encode())
        for image in self.images:
            digest.update(image.signature)
        return digest.hexdigest()[:32]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardResult:
    """The outcome of a task; as JSON, its receipt."""

    shard: ShardInfo | None
    """None where no image can be used."""
    index: tuple[dict[str, Any], ...]
    """The entries of the split's index, one per row of the shard."""
    num_segments: dict[int, int]
    """category_id → segments, crowds included."""
    max_segments: Count
    """Of one image."""
    defects: tuple[Defect, ...]
    """Why the other images were left out."""

    def __post_init__(self) -> None:
        check_ranges(self, "receipt")

    def to_bytes(self) -> bytes:
        """As JSON."""
        plain = {**asdict(self), "defects": [asdict(d) for d in self.defects]}
        return json.dumps(plain, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ShardResult:
        """The inverse of `to_bytes`.

        Raises:
            InputError: it is damaged.
        """
        result: ShardResult = from_json(cls, read_object(data, "receipt"), "receipt")
        if not all(_is_entry(entry) for entry in result.index):
            raise InputError(f"receipt.index: has entries other than {', '.join(INDEX_TYPES)}")
        if len(result.index) != (result.shard.num_rows if result.shard else 0):
            raise InputError(f"receipt.index: {len(result.index)} entries for the rows of {result.shard}")
        return result


def read_receipts(pool: PreparedPool, keys: Sequence[str]) -> Iterator[tuple[str, ShardResult]]:
    """Key and receipt of the tasks `keys`, in their order; damaged ones are left out."""

    def read(key: str) -> tuple[str, ShardResult | None]:
        try:
            return key, ShardResult.from_bytes(storage.read_bytes(pool.receipt_uri(key)))
        except InputError:
            return key, None

    with ThreadPoolExecutor(RECEIPT_READERS) as threads:
        for first in range(0, len(keys), RECEIPT_READERS):
            for key, receipt in threads.map(read, keys[first : first + RECEIPT_READERS]):
                if receipt:
                    yield key, receipt


def write_shard(task: ShardTask) -> ShardResult:
    """Read, check and write one shard, then its receipt. Doing it twice does no harm: the names follow the content.

    Raises:
        InputError: a file that was listed cannot be read.
    """
    rows: list[dict[str, Any]] = []
    index: list[dict[str, Any]] = []
    defects: list[Defect] = []
    for raw, image, panoptic in _fetched(task):
        row = _row(task, raw, image, panoptic)
        if isinstance(row, list):
            defects += row
        else:
            rows.append(row[0])
            index.append(row[1])
    shard = None
    if rows:
        content = encode_shard(rows)
        sha256 = hashlib.sha256(content).hexdigest()
        shard = ShardInfo(name=f"{sha256[:32]}.parquet", num_rows=len(rows), num_bytes=len(content), sha256=sha256)
        storage.write_bytes(storage.join(task.pool.shards_uri, shard.name), content)
    result = ShardResult(
        shard=shard,
        index=tuple(index),
        num_segments=dict(Counter(s["category_id"] for row in rows for s in row["segments"])),
        max_segments=max((len(row["segments"]) for row in rows), default=0),
        defects=tuple(defects),
    )
    storage.write_bytes(task.pool.receipt_uri(task.key), result.to_bytes())
    return result


def _fetched(task: ShardTask) -> Iterator[tuple[RawImage, bytes, bytes]]:
    """Each image with the bytes of its two files."""

    def fetch(raw: RawImage) -> tuple[RawImage, bytes, bytes]:
        image = storage.read_bytes(storage.join(task.root, task.config.images, raw.record.file_name))
        panoptic = storage.read_bytes(storage.join(task.root, task.config.annotations, raw.record.panoptic_name))
        return raw, image, panoptic

    with ThreadPoolExecutor(READERS) as readers:
        yield from readers.map(fetch, task.images)


def _is_entry(entry: dict[str, Any]) -> bool:
    return entry.keys() == INDEX_TYPES.keys() and all(type(entry[name]) in INDEX_TYPES[name] for name in entry)


def _row(
    task: ShardTask, raw: RawImage, image: bytes, panoptic: bytes
) -> tuple[dict[str, Any], dict[str, Any]] | list[Defect]:
    """The row of an image and its entry in the index, or why it cannot have one."""
    if task.config.instance_ids:
        try:
            raw, panoptic = _converted(raw, panoptic)
        except InputError as error:
            record = named(task.config, raw.record)
            return [
                Defect(rule="map-unreadable", image=record.image_id, message=f"{record.panoptic_name}: {problem}")
                for problem in error.problems
            ]
    record, instances = raw.record, None
    check = check_image(named(task.config, record), image, panoptic)
    defects = check.defects
    if raw.instances is not None:
        source_name = task.config.instances_json or ""
        defects += check_instances(raw.instances, source_name, record, task.categories.by_id)
    if errors := errors_of(defects, counted=True):
        return errors
    if raw.instances is not None:
        instances = [{**asdict(i), "bbox": list(i.bbox)} for i in read_instances(raw.instances, record)]
    row = {
        "image_id": record.image_id,
        "file_name": record.file_name,
        "height": record.height,
        "width": record.width,
        "image": image,
        "panoptic": panoptic,
        "segments": _segments(check),
        "instances": instances,
    }
    row["sha256"] = row_digest(row)
    prints = {"image_sha256": check.sha256.hex(), "difference_hash": check.difference_hash}
    return row, {name: (row | prints)[name] for name in INDEX_SCHEMA.names}


def _converted(raw: RawImage, instance_ids: bytes) -> tuple[RawImage, bytes]:
    """A Cityscapes image and its instanceIds PNG in panoptic format: with size and segments, and as a PNG of segment
    ids."""
    ids, segments = panoptic_of(decode_instance_ids(instance_ids))
    record = replace(raw.record, height=ids.shape[0], width=ids.shape[1], segments=segments)
    return replace(raw, record=record), encode_panoptic(ids)


def _segments(check: ImageCheck) -> list[dict[str, Any]]:
    """The segments with their areas and boxes as counted."""
    segments = []
    for s in check.record.segments:
        area, bbox = check.measured[s.id]
        plain = {"id": s.id, "category_id": s.category_id, "is_crowd": s.is_crowd, "area": area, "bbox": list(bbox)}
        segments.append(plain)
    return segments


def cut(images: Iterable[RawImage], rows_per_shard: int) -> Iterator[tuple[RawImage, ...]]:
    """Cut a split into batches, one for each shard, of `rows_per_shard` // 2 to `rows_per_shard` images, or fewer where
    their files have `MAX_SHARD_BYTES` // 2 bytes.

    The ids of the images, not their positions, decide where a batch ends: images that are added or removed change the
    batches around them, and the remaining split is cut as before. At `MAX_SHARD_BYTES` every batch ends.
    """
    least, least_bytes = max(1, rows_per_shard // 2), MAX_SHARD_BYTES // 2
    batch: list[RawImage] = []
    num_bytes = 0
    for image in images:
        batch.append(image)
        num_bytes += image.num_bytes
        mark = int.from_bytes(hashlib.sha256(str(image.record.image_id).encode()).digest()[:8], "big")
        is_full = len(batch) >= rows_per_shard or num_bytes >= MAX_SHARD_BYTES
        is_marked = len(batch) >= least and mark % least == 0
        is_heavy_and_marked = num_bytes >= least_bytes and mark % least_bytes < image.num_bytes
        if is_full or is_marked or is_heavy_and_marked:
            yield tuple(batch)
            batch, num_bytes = [], 0
    if batch:
        yield tuple(batch)
