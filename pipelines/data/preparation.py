"""Raw data → shards, indexes and their manifest: tasks that Ray Data spreads, taken up where they stopped."""

from __future__ import annotations

import hashlib
import pickle
from collections import Counter
from typing import Any

from aunet.errors import InputError
from pipelines import storage
from pipelines.config import DataConfig
from pipelines.data.manifest import Manifest, Quarantined, ShardInfo, SplitInfo
from pipelines.data.shard_writer import ShardResult, ShardTask, cut, read_receipts, write_shard
from pipelines.data.sources import SHOWN_PROBLEMS, RawSplit, Source, over_budget
from pipelines.progress import counted


def write_shards(source: Source, data: DataConfig, prepared_uri: str) -> Manifest:
    """Write all shards and indexes of prepared data; what an earlier run has left is not done again.

    Raises:
        InputError: more is wrong with the pictures than `data.max_bad_fraction` allows, or a split has no segment.
    """
    from pipelines.code_version import code_version

    pool_uri = storage.join(storage.store_root(), "prepared")
    parts = {
        split.name: [
            ShardTask(
                pool_uri=pool_uri, root=source.root, config=split.config, categories=source.categories, images=images
            )
            for images in cut(split.images, data.rows_per_shard)
        ]
        for split in source.splits
    }
    tasks = {task.key: task for own in parts.values() for task in own}
    results = _receipts(pool_uri, list(tasks))
    missing = {key: task for key, task in tasks.items() if key not in results}
    results |= zip(missing, in_parallel(list(missing.values())), strict=True)
    made = {split.name: [results[task.key] for task in parts[split.name]] for split in source.splits}
    problems = []
    for split in source.splits:
        defects = [d for r in made[split.name] for d in r.defects]
        num_good = sum(len(r.index) for r in made[split.name])
        problems += over_budget(split, defects, num_good, data.max_bad_fraction)
    problems = problems or [p for split in source.splits for p in _unlabelled(split, made[split.name])]
    if problems:
        raise InputError(problems)
    splits = {split.name: _split_info(split, made[split.name], prepared_uri) for split in source.splits}
    return Manifest(
        categories=source.categories,
        splits=splits,
        source_fingerprint=source.fingerprint,
        code_version=code_version(),
    )


def _split_info(split: RawSplit, results: list[ShardResult], prepared_uri: str) -> SplitInfo:
    """What the manifest says of a split; its index is written here."""
    from pipelines.data.rows import encode_index

    rows = [row for r in results for row in r.index]
    content = encode_index(rows)
    sha256 = hashlib.sha256(content).hexdigest()
    index = ShardInfo(
        name=f"{split.name}-{sha256[:16]}.index.parquet", num_rows=len(rows), num_bytes=len(content), sha256=sha256
    )
    storage.write_bytes(storage.join(prepared_uri, index.name), content)
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
    """A split without any segment, such as Cityscapes' test, whose annotations are kept back."""
    if any(r.num_segments for r in results):
        return []
    return [
        f"data.{split.name}: none of its {len(split.images)} images has a segment; they can be labelled with "
        "`predict`, not trained on or evaluated against: name images with annotations"
    ]


def _receipts(pool_uri: str, keys: list[str]) -> dict[str, ShardResult]:
    """Key → result of the tasks that an earlier run has done and whose shard is still there."""
    if not storage.exists(storage.join(pool_uri, "receipts")):
        return {}
    there = {f.path for f in storage.list_files(storage.join(pool_uri, "receipts"))}
    shards = storage.join(pool_uri, "shards")
    sizes = {f.path: f.size for f in storage.list_files(shards)} if storage.exists(shards) else {}
    results = read_receipts(pool_uri, [key for key in keys if f"{key}.json" in there])
    return {k: r for k, r in results.items() if r.shard is None or sizes.get(r.shard.name) == r.shard.num_bytes}


def in_parallel(tasks: list[ShardTask]) -> list[ShardResult]:
    """Every task's result, in the order of `tasks`; Ray Data spreads them and repeats lost ones.

    Raises:
        InputError: a file cannot be read.
    """
    if not tasks:
        return []
    from pipelines.cluster import connect

    connect()
    import logging

    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)

    def run(item: dict[str, Any]) -> dict[str, Any]:
        task = pickle.loads(item["task"])
        try:
            return {"number": item["number"], "images": len(task.images), "result": write_shard(task).to_bytes()}
        except InputError as error:
            return {"number": item["number"], "images": 0, "result": pickle.dumps(error.problems)}

    items = [{"number": n, "task": pickle.dumps(task)} for n, task in enumerate(tasks)]
    rows = ray.data.from_items(items, override_num_blocks=len(items)).map(run).iter_rows()
    results: list[ShardResult | None] = [None] * len(tasks)
    problems: list[str] = []
    with counted("preprocess", sum(len(task.images) for task in tasks)) as advance:
        for row in rows:
            if row["images"]:
                results[row["number"]] = ShardResult.from_bytes(row["result"])
                advance(row["images"])
            else:
                problems += pickle.loads(row["result"])
    if problems:
        raise InputError(problems[:SHOWN_PROBLEMS])
    return [result for result in results if result is not None]
