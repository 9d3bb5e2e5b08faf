"""Raw data → shards, indexes and their manifest: tasks that Ray Data spreads, resumed where they stopped."""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections import Counter
from collections.abc import Callable
from typing import Any

from aunet.errors import InputError
from pipelines.data.manifest import Manifest, Quarantined, ShardInfo, SplitInfo
from pipelines.data.rows import encode_index
from pipelines.data.shard_writer import ShardResult, ShardTask, cut, read_receipts, write_shard
from pipelines.data.sources import SHOWN_PROBLEMS, RawSplit, Source, over_budget
from pipelines.runtime.cluster import connect
from pipelines.runtime.code_version import code_version
from pipelines.runtime.growth import require
from pipelines.runtime.progress import counted
from pipelines.settings.run_config import DataConfig
from pipelines.store import storage
from pipelines.store.layout import PreparedFolder, PreparedPool

RunTasks = Callable[[list[ShardTask]], list[ShardResult]]
"""Gives every task's result, in the order of the tasks."""


def write_shards(source: Source, data: DataConfig, folder: PreparedFolder, run_tasks: RunTasks) -> Manifest:
    """Write all shards and indexes of prepared data; what an earlier run has written is not written again.

    Args:
        folder: of the prepared data.
        run_tasks: `in_parallel`, outside of tests.

    Raises:
        InputError: more is wrong with the pictures than `data.max_bad_fraction` allows, or a split has no segment.
    """
    tasks_of = {split.name: _tasks(split, source, data, folder.pool) for split in source.splits}
    tasks = {task.key: task for split_tasks in tasks_of.values() for task in split_tasks}
    results = _finished(folder.pool, list(tasks))
    missing = {key: task for key, task in tasks.items() if key not in results}
    results |= zip(missing, run_tasks(list(missing.values())), strict=True)
    results_of = {name: [results[task.key] for task in split_tasks] for name, split_tasks in tasks_of.items()}
    problems = []
    for split in source.splits:
        defects = [defect for result in results_of[split.name] for defect in result.defects]
        num_good = sum(len(result.index) for result in results_of[split.name])
        problems += over_budget(split, defects, num_good, data.max_bad_fraction)
    problems = problems or [p for split in source.splits for p in _unlabelled(split, results_of[split.name])]
    if problems:
        raise InputError(problems)
    return Manifest(
        categories=source.categories,
        splits={split.name: _split_info(split, results_of[split.name], folder) for split in source.splits},
        source_fingerprint=source.fingerprint,
        code_version=code_version(),
    )


def _tasks(split: RawSplit, source: Source, data: DataConfig, pool: PreparedPool) -> list[ShardTask]:
    return [
        ShardTask(pool=pool, root=source.root, config=split.config, categories=source.categories, images=images)
        for images in cut(split.images, data.rows_per_shard)
    ]


def _split_info(split: RawSplit, results: list[ShardResult], folder: PreparedFolder) -> SplitInfo:
    """A split's entry in the manifest; its index is written here."""
    rows = [row for r in results for row in r.index]
    content = encode_index(rows)
    sha256 = hashlib.sha256(content).hexdigest()
    index = ShardInfo(
        name=f"{split.name}-{sha256[:16]}.index.parquet", num_rows=len(rows), num_bytes=len(content), sha256=sha256
    )
    storage.write_bytes(folder.index_uri(index.name), content)
    defects = [*split.defects, *(d for r in results for d in r.defects)]
    return SplitInfo(
        shards=tuple(r.shard for r in results if r.shard),
        index=index,
        rows_sha256=hashlib.sha256("".join(row["sha256"] for row in rows).encode()).hexdigest(),
        num_images=len(rows),
        num_segments=dict(sum((Counter(r.num_segments) for r in results), Counter[int]())),
        max_segments=max(r.max_segments for r in results),
        num_quarantined=split.num_entries - len(rows),
        quarantined=tuple(Quarantined(image=d.image, rule=d.rule, message=d.message) for d in defects),
    )


def _unlabelled(split: RawSplit, results: list[ShardResult]) -> list[str]:
    """A split without any segment, such as Cityscapes' test, whose annotations are not published."""
    if any(r.num_segments for r in results):
        return []
    return [
        f"data.{split.name}: none of its {len(split.images)} images has a segment; they can be labelled with "
        "`predict`, not trained on or evaluated against: name images with annotations"
    ]


def _finished(pool: PreparedPool, keys: list[str]) -> dict[str, ShardResult]:
    """Key → result of the tasks that an earlier run has finished and whose shard still exists."""
    receipts = {storage.join(pool.receipts_uri, name) for name in _sizes(pool.receipts_uri)}
    shards = _sizes(pool.shards_uri)
    results = read_receipts(pool, [key for key in keys if pool.receipt_uri(key) in receipts])
    return {k: r for k, r in results.items() if r.shard is None or shards.get(r.shard.name) == r.shard.num_bytes}


def _sizes(folder_uri: str) -> dict[str, int]:
    """File name → bytes of what is in a folder; nothing where there is no such folder."""
    return {f.path: f.size for f in storage.list_files(folder_uri)} if storage.exists(folder_uri) else {}


def in_parallel(tasks: list[ShardTask]) -> list[ShardResult]:
    """Every task's result, in the order of `tasks`; Ray Data spreads them and repeats lost ones.

    Raises:
        InputError: a file cannot be read.
        OSError: a shard cannot be written.
    """
    if not tasks:
        return []
    import ray.data  # not before: a process that finds everything prepared does without Ray

    connect()
    require({"CPU": 1.0}, "preprocess")
    logging.getLogger("ray.data").setLevel(logging.ERROR)

    def run(item: dict[str, Any]) -> dict[str, Any]:
        task = pickle.loads(item["task"])
        try:
            return {"number": item["number"], "images": len(task.images), "result": write_shard(task).to_bytes()}
        except (InputError, OSError) as error:
            return {"number": item["number"], "images": 0, "result": pickle.dumps(error)}

    items = [{"number": n, "task": pickle.dumps(task)} for n, task in enumerate(tasks)]
    rows = ray.data.from_items(items, override_num_blocks=len(items)).map(run).iter_rows()
    results: list[ShardResult | None] = [None] * len(tasks)
    problems: list[str] = []
    with counted("preprocess", sum(len(task.images) for task in tasks)) as advance:
        for row in rows:
            if row["images"]:
                results[row["number"]] = ShardResult.from_bytes(row["result"])
                advance(row["images"])
                continue
            error = pickle.loads(row["result"])
            if not isinstance(error, InputError):
                raise error
            problems += error.problems
    if problems:
        raise InputError(problems[:SHOWN_PROBLEMS])
    return [result for result in results if result is not None]
