"""One task of preprocessing: read the files of one shard, check every pixel, write one Parquet file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from aunet.data.cityscapes import decode_instance_ids, panoptic_of
from aunet.data.coco_json import InstanceRecord
from aunet.data.coco_panoptic import decode_image, decode_panoptic, encode_panoptic, measure_segments
from aunet.errors import InputError
from pipelines import storage
from pipelines.config import SplitConfig
from pipelines.data.manifest import ShardInfo
from pipelines.data.sources import RawImage

if TYPE_CHECKING:
    import numpy as np

READERS = 4
"""Images fetched ahead in every task."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTask:
    """What one task reads, and where its shard goes."""

    prepared_uri: str
    root: str
    split: str
    config: SplitConfig
    number: int
    images: tuple[RawImage, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardResult:
    """What became of it: a shard, or what is wrong with the data."""

    problems: tuple[str, ...] = ()
    shard: ShardInfo | None = None
    """None when there are problems."""
    is_new: bool = False
    """Whether no earlier run had left the same shard."""
    num_segments: Counter[int] | None = None
    """category_id → segments, crowds included."""
    max_segments: int = 0
    """Of one image."""


def write_shard(task: ShardTask) -> ShardResult:
    """Read, check and write one shard. Doing it twice does no harm: the name tells the content."""
    from pipelines.data.shards import encode_shard

    rows, problems = [], []
    for raw, image, panoptic in _fetched(task):
        if isinstance(image, bytes) and isinstance(panoptic, bytes):
            if task.config.instance_ids:
                try:
                    raw, panoptic = _converted(raw, panoptic)
                except InputError as error:
                    place = storage.join(task.root, task.config.annotations, raw.record.panoptic_name)
                    problems += [f"{place}: {p}" for p in error.problems]
                    continue
            rows.append(_checked_row(task, raw, image, panoptic, problems))
        else:
            problems += [p for e in (image, panoptic) if isinstance(e, InputError) for p in e.problems]
    if problems:
        return ShardResult(problems=tuple(problems))
    content = encode_shard(rows)
    sha256 = hashlib.sha256(content).hexdigest()
    name = f"shards/{task.split}-{task.number:05d}-{sha256[:16]}.parquet"
    uri = storage.join(task.prepared_uri, name)
    is_new = not storage.exists(uri)
    storage.write_bytes(uri, content)
    return ShardResult(
        shard=ShardInfo(name=name, num_rows=len(rows), num_bytes=len(content), sha256=sha256),
        is_new=is_new,
        num_segments=Counter(s["category_id"] for row in rows for s in row["segments"]),
        max_segments=max(len(row["segments"]) for row in rows),
    )


def _fetched(task: ShardTask) -> Iterator[tuple[RawImage, bytes | InputError, bytes | InputError]]:
    """Each image with the bytes of its two files, or with what kept them from being read."""

    def fetch(folder: str, name: str) -> bytes | InputError:
        try:
            return storage.read_bytes(storage.join(task.root, folder, name))
        except InputError as error:
            return error

    def both(raw: RawImage) -> tuple[RawImage, bytes | InputError, bytes | InputError]:
        image = fetch(task.config.images, raw.record.file_name)
        return raw, image, fetch(task.config.annotations, raw.record.panoptic_name)

    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(both, task.images)


def _converted(raw: RawImage, instance_ids: bytes) -> tuple[RawImage, bytes]:
    """A Cityscapes image and its instanceIds PNG as the panoptic format has them: with size and segments, and as a PNG
    of segment ids."""
    ids, segments = panoptic_of(decode_instance_ids(instance_ids))
    record = replace(raw.record, height=ids.shape[0], width=ids.shape[1], segments=segments)
    return replace(raw, record=record), encode_panoptic(ids)


def _checked_row(task: ShardTask, raw: RawImage, image: bytes, panoptic: bytes, problems: list[str]) -> dict[str, Any]:
    """One row of `shards.ROW_SCHEMA` without its digest; what is wrong with it goes to `problems`."""
    record = raw.record
    json_name = task.config.panoptic_json or record.panoptic_name

    def decoded(decode: Callable[[bytes], np.ndarray], content: bytes, place: str) -> np.ndarray | None:
        try:
            pixels = decode(content)
        except InputError as error:
            problems.extend(f"{place}: {p}" for p in error.problems)
            return None
        if pixels.shape[:2] != (record.height, record.width):
            problems.append(
                f"{place}: {pixels.shape[1]}×{pixels.shape[0]} pixels, but image {record.image_id} has "
                f"{record.width}×{record.height} in {json_name}; correct one of the two"
            )
        return pixels

    decoded(decode_image, image, storage.join(task.root, task.config.images, record.file_name))
    place = storage.join(task.root, task.config.annotations, record.panoptic_name)
    ids = decoded(decode_panoptic, panoptic, place)
    known = {s.id for s in record.segments}
    measured = {} if ids is None else measure_segments(ids)
    if ids is not None:
        problems += [
            f"{place}: id {i} ({measured[i][0]} pixels) is not in segments_info of image {record.image_id} in "
            f"{json_name}; add the segment or paint it void (0)"
            for i in sorted(set(measured) - known)
        ]
        problems += [
            f"{place}: no pixel has id {i}, a segment of image {record.image_id} in {json_name}; "
            "paint it or drop the segment"
            for i in sorted(known - set(measured))
        ]
    segments = []
    for s in record.segments:
        area, bbox = measured.get(s.id, (0, (0, 0, 0, 0)))
        whole = {"id": s.id, "category_id": s.category_id, "is_crowd": s.is_crowd}
        segments.append({**whole, "area": area, "bbox": list(bbox)})
    return {
        "image_id": record.image_id,
        "file_name": record.file_name,
        "height": record.height,
        "width": record.width,
        "image": image,
        "panoptic": panoptic,
        "segments": segments,
        "instances": None if raw.instances is None else [_plain(i) for i in raw.instances],
    }


def _plain(instance: InstanceRecord) -> dict[str, Any]:
    return {**asdict(instance), "bbox": list(instance.bbox)}
