"""Raw data → shards, indexes and their manifest: tasks that Ray Data spreads, resumed where they stopped.

What grows with the number of images is in temporary files, not in memory: records, annotations and results.
"""

from __future__ import annotations

import hashlib
import mmap
import pickle
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

from aunet.data.defects import Defect
from aunet.errors import InputError
from pipelines.data.manifest import Manifest, Quarantined, ShardInfo, SplitInfo
from pipelines.data.rows import write_index
from pipelines.data.shard_writer import ShardResult, ShardTask, cut, read_receipts, write_shard
from pipelines.data.sources import SHOWN_PROBLEMS, RawSplit, Source, over_budget
from pipelines.data.spill import Spilled
from pipelines.runtime.cluster import connect
from pipelines.runtime.code_version import code_version
from pipelines.runtime.growth import require
from pipelines.runtime.progress import counted
from pipelines.settings.run_config import DataConfig
from pipelines.store import storage
from pipelines.store.layout import PreparedFolder, PreparedPool

WINDOW = 2**13
"""Rows among which samples are shuffled; a split with no more is shuffled as a whole."""
TASKS_AT_ONCE = 64
"""Tasks that Ray Data gets as one table, and the driver holds in memory: two for each CPU, but at least so many."""


@dataclass(frozen=True, slots=True)
class Tasks:
    """The tasks with certain keys, in the order of the images; made when they are asked for."""

    source: Source
    data: DataConfig
    pool: PreparedPool
    num_images: Mapping[str, int]
    """Key of each task → its images."""

    def __len__(self) -> int:
        return len(self.num_images)

    def __iter__(self) -> Iterator[ShardTask]:
        remaining = set(self.num_images)
        for split in self.source.splits:
            for task in _tasks(split, self.source, self.data, self.pool):
                if task.key in remaining:
                    remaining.remove(task.key)
                    yield task


RunTasks = Callable[[Tasks], Iterable[ShardResult]]
"""Gives every task's result, in the order of the tasks."""


@dataclass(slots=True)
class SplitContents:
    """What the tasks of a split made, but for the entries of its index."""

    shards: list[ShardInfo] = field(default_factory=list)
    num_images: int = 0
    num_segments: Counter[int] = field(default_factory=Counter)
    max_segments: int = 0
    defects: list[Defect] = field(default_factory=list)
    rows: hashlib._Hash = field(default_factory=hashlib.sha256)
    """SHA-256 over the digests of all rows."""

    def add(self, result: ShardResult) -> None:
        """The result of the next task."""
        self.shards += [result.shard] if result.shard else []
        self.num_images += len(result.index)
        self.num_segments.update(result.num_segments)
        self.max_segments = max(self.max_segments, result.max_segments)
        self.defects += result.defects
        self.rows.update("".join(entry["sha256"] for entry in result.index).encode())


def write_shards(source: Source, data: DataConfig, folder: PreparedFolder, run_tasks: RunTasks) -> Manifest:
    """Write all shards and indexes of prepared data; what an earlier run has written is not written again.

    Args:
        folder: of the prepared data.
        run_tasks: `in_parallel`, outside of tests.

    Raises:
        InputError: more is wrong with the pictures than `data.max_bad_fraction` allows, or a split has no segment.
    """
    num_images: dict[str, int] = {}
    keys: dict[str, list[str]] = {split.name: [] for split in source.splits}
    for split in source.splits:
        for task in _tasks(split, source, data, folder.pool):
            key = task.key
            num_images[key] = len(task.images)
            keys[split.name].append(key)
    results: Spilled[ShardResult] = Spilled()
    results.update(_finished(folder.pool, list(num_images)))
    missing = {key: count for key, count in num_images.items() if key not in results}
    results.update(zip(missing, run_tasks(Tasks(source, data, folder.pool, missing)), strict=True))
    contents: dict[str, SplitContents] = {}
    problems: list[str] = []
    for split in source.splits:
        made = contents[split.name] = SplitContents()
        for key in keys[split.name]:
            made.add(results[key])
        problems += over_budget(split, made.defects, made.num_images, data.max_bad_fraction)
    problems = problems or [p for split in source.splits for p in _unlabelled(split, contents[split.name])]
    if problems:
        raise InputError(problems)
    if note := _in_both_splits(results, keys):
        print(f"warning: {note}", file=sys.stderr)
    splits = {}
    for split in source.splits:
        entries = (entry for key in keys[split.name] for entry in results[key].index)
        index = _written_index(split.name, entries, contents[split.name].num_images, folder)
        splits[split.name] = _split_info(split, contents[split.name], index)
    return Manifest(
        categories=source.categories,
        splits=splits,
        source_fingerprint=source.fingerprint,
        code_version=code_version(),
    )


def _tasks(split: RawSplit, source: Source, data: DataConfig, pool: PreparedPool) -> Iterator[ShardTask]:
    for images in cut(split.images, data.rows_per_shard):
        yield ShardTask(pool=pool, root=source.root, config=split.config, categories=source.categories, images=images)


def _in_both_splits(results: Mapping[str, ShardResult], keys: Mapping[str, Sequence[str]]) -> str:
    """The note that the same picture files are in training and in validation; empty where there are none.

    Args:
        results: of the tasks.
        keys: of each split's tasks.
    """

    def pictures(split: str) -> Iterator[tuple[str, str]]:
        return ((e["image_sha256"], e["file_name"]) for key in keys[split] for e in results[key].index)

    remaining: Spilled[str] = Spilled()
    remaining.update(pictures("val"))
    num_pictures, example = 0, ""
    for sha256, file_name in pictures("train"):
        if sha256 in remaining:
            twin = remaining.pop(sha256)
            num_pictures, example = num_pictures + 1, example or f"{file_name} of train and {twin} of val"
    if not num_pictures:
        return ""
    return (
        f"the same pictures in data.train and data.val: {num_pictures}, such as {example}; drop them from one of the "
        "two, `lint-data` with --against-images lists them [leak-exact]"
    )


def _written_index(name: str, entries: Iterable[dict[str, Any]], num_rows: int, folder: PreparedFolder) -> ShardInfo:
    """The index of split `name`, written."""
    with tempfile.TemporaryFile() as file:
        write_index(entries, file)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            sha256, num_bytes = hashlib.sha256(content).hexdigest(), len(content)
            info = ShardInfo(
                name=f"{name}-{sha256[:16]}.index.parquet", num_rows=num_rows, num_bytes=num_bytes, sha256=sha256
            )
            storage.write_bytes(folder.index_uri(info.name), cast(bytes, content))
    return info


def _split_info(split: RawSplit, contents: SplitContents, index: ShardInfo) -> SplitInfo:
    """A split's entry in the manifest."""
    return SplitInfo(
        shards=tuple(contents.shards),
        index=index,
        rows_sha256=contents.rows.hexdigest(),
        num_images=contents.num_images,
        num_segments=dict(contents.num_segments),
        max_segments=contents.max_segments,
        window=WINDOW,
        num_quarantined=split.num_entries - contents.num_images,
        quarantined=tuple(
            Quarantined(image=d.image, rule=d.rule, message=d.message) for d in (*split.defects, *contents.defects)
        ),
    )


def _unlabelled(split: RawSplit, contents: SplitContents) -> list[str]:
    """A split without any segment, such as Cityscapes' test, whose annotations are not published."""
    if contents.num_segments:
        return []
    return [
        f"data.{split.name}: none of its {len(split.images)} images has a segment; they can be labelled with "
        "`predict`, not trained on or evaluated against: name images with annotations"
    ]


def _finished(pool: PreparedPool, keys: Sequence[str]) -> Iterator[tuple[str, ShardResult]]:
    """Key and result of the tasks that an earlier run has finished and whose shard still exists."""
    receipts = {storage.join(pool.receipts_uri, name) for name in _sizes(pool.receipts_uri)}
    shards = _sizes(pool.shards_uri)
    for key, result in read_receipts(pool, [key for key in keys if pool.receipt_uri(key) in receipts]):
        if result.shard is None or shards.get(result.shard.name) == result.shard.num_bytes:
            yield key, result


def _sizes(folder_uri: str) -> dict[str, int]:
    """File name → bytes of what is in a folder; nothing where there is no such folder."""
    return {f.path: f.size for f in storage.list_files(folder_uri)} if storage.exists(folder_uri) else {}


def in_parallel(tasks: Tasks) -> Iterator[ShardResult]:
    """Every task's result, in the order of `tasks`; Ray Data spreads them and repeats lost ones.

    Raises:
        InputError: a file cannot be read.
        OSError: a shard cannot be written.
    """
    if not len(tasks):
        return
    import ray.data  # not before: a process that finds everything prepared does without Ray

    connect()
    require({"CPU": 1.0}, "preprocess")
    problems: list[str] = []
    remaining = iter(tasks)
    at_once = max(TASKS_AT_ONCE, 2 * int(ray.cluster_resources().get("CPU", 0)))
    with counted("preprocess", sum(tasks.num_images.values())) as advance:
        while sent := list(islice(remaining, at_once)):
            items = [{"task": pickle.dumps(task)} for task in sent]
            table = ray.data.from_items(items, override_num_blocks=len(items)).map(_result_or_error)
            table.context.execution_options.preserve_order = True
            for task, row in zip(sent, table.iter_rows(), strict=True):
                result = pickle.loads(row["result"])
                if isinstance(result, InputError):
                    problems += result.problems
                elif isinstance(result, OSError):
                    raise result
                else:
                    advance(len(task.images))
                    yield result
    if problems:
        raise InputError(problems[:SHOWN_PROBLEMS])


def _result_or_error(row: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"result": pickle.dumps(write_shard(pickle.loads(row["task"])))}
    except (InputError, OSError) as error:
        return {"result": pickle.dumps(error)}
