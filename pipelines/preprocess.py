"""Raw images and annotations → checked Parquet shards, committed by one manifest."""

from __future__ import annotations

import dataclasses
import pickle
import tempfile
import uuid
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aunet.errors import InputError
from pipelines import storage
from pipelines.artifacts import PreparedData
from pipelines.config import DataConfig, RunConfig, ShapesConfig, SplitConfig, fingerprint
from pipelines.data.manifest import Manifest, SplitInfo, manifest_uri
from pipelines.data.shard_writer import ShardResult, ShardTask, write_shard
from pipelines.data.sources import Source, read_source, shortened

COMPLETE = "complete"
"""File beside generated scenes, written last."""


def preprocess(config: RunConfig) -> PreparedData:
    """Check the raw data and write it as shards below `<store>/prepared/`, or return what is there already.

    Nothing counts before the manifest is written, last and in one step: a run that was killed leaves shards
    that nothing refers to, and running again gives the same manifest.

    Raises:
        InputError: everything that is wrong with the data; nothing is left behind then.
    """
    data, root = raw_data(config.data)
    if data.shapes is not None and not is_there(data, root):
        _generate(data.shapes, root)
    source = read_source(data, root)
    prepared_uri = storage.join(storage.store_root(), "prepared", source.fingerprint)
    if not storage.exists(manifest_uri(prepared_uri)):
        manifest = _write(source, data.rows_per_shard, prepared_uri)
        storage.create_exclusive(manifest_uri(prepared_uri), manifest.to_bytes())
    manifest = Manifest.load(prepared_uri)
    num_images = {name: split.num_images for name, split in manifest.splits.items()}
    return PreparedData(uri=prepared_uri, fingerprint=manifest.fingerprint, num_images=num_images)


def raw_data(data: DataConfig) -> tuple[DataConfig, str]:
    """The configuration with real paths, and their absolute root; generated scenes may not be there yet."""
    if data.shapes is None:
        return data, storage.absolute(data.root)
    from aunet.data.shapes import VERSION

    splits = {
        name: SplitConfig(
            images=name,
            panoptic_json=f"annotations/panoptic_{name}.json",
            panoptic_dir=f"annotations/panoptic_{name}",
        )
        for name in ("train", "val")
    }
    root = storage.join(storage.store_root(), "raw", f"shapes-{fingerprint(data.shapes, VERSION)}")
    return dataclasses.replace(data, **splits), root


def is_there(data: DataConfig, root: str) -> bool:
    """Whether there is raw data to read: generated scenes are when they are complete, other data always."""
    return data.shapes is None or storage.exists(storage.join(root, COMPLETE))


def _generate(shapes: ShapesConfig, root: str) -> None:
    from aunet.data.shapes import write_scenes

    sizes = asdict(shapes)
    if root.startswith("s3://"):
        with tempfile.TemporaryDirectory() as folder:
            write_scenes(Path(folder), **sizes)
            storage.upload_folder(Path(folder), root)
        storage.create_exclusive(storage.join(root, COMPLETE), b"")
    else:
        folder = Path(root).with_name(f".{Path(root).name}.{uuid.uuid4().hex[:8]}.tmp")
        write_scenes(folder, **sizes)
        (folder / COMPLETE).touch()
        storage.rename_folder(folder, Path(root))


def _write(source: Source, rows_per_shard: int, prepared_uri: str) -> Manifest:
    tasks = [
        ShardTask(
            prepared_uri=prepared_uri,
            root=source.root,
            split=split.name,
            config=split.config,
            number=number,
            images=split.images[first : first + rows_per_shard],
        )
        for split in source.splits
        for number, first in enumerate(range(0, len(split.images), rows_per_shard))
    ]
    results = _in_parallel(tasks)
    problems = [p for r in results for p in r.problems] or _unlabelled(source, tasks, results)
    if problems:
        _clean_up(prepared_uri, results)
        raise InputError(shortened(problems))
    splits = {}
    for split in source.splits:
        own = [r for task, r in zip(tasks, results, strict=True) if task.split == split.name]
        counts = sum((r.num_segments or Counter() for r in own), Counter[int]())
        splits[split.name] = SplitInfo(
            shards=tuple(r.shard for r in own if r.shard),
            num_images=len(split.images),
            num_segments={c.id: counts[c.id] for c in source.categories.entries},
            max_segments=max(r.max_segments for r in own),
        )
    return Manifest(categories=source.categories, splits=splits, source_fingerprint=source.fingerprint)


def _unlabelled(source: Source, tasks: list[ShardTask], results: list[ShardResult]) -> list[str]:
    """The splits without any segment, such as Cityscapes' test, whose annotations are kept back."""
    labelled = {task.split for task, result in zip(tasks, results, strict=True) if result.num_segments}
    return [
        f"data.{split.name}: none of its {len(split.images)} images has a segment; they can be labelled with "
        "`predict`, not trained on or evaluated against: name images with annotations"
        for split in source.splits
        if split.name not in labelled
    ]


def _in_parallel(tasks: list[ShardTask]) -> list[ShardResult]:
    """Every task's result, in the order of `tasks`; Ray Data spreads them and repeats lost ones."""
    from pipelines.cluster import connect

    connect()
    import logging

    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)

    def run(item: dict[str, Any]) -> dict[str, Any]:
        return {"number": item["number"], "result": pickle.dumps(write_shard(pickle.loads(item["task"])))}

    items = [{"number": n, "task": pickle.dumps(task)} for n, task in enumerate(tasks)]
    rows = ray.data.from_items(items, override_num_blocks=len(items)).map(run).take_all()
    return [pickle.loads(row["result"]) for row in sorted(rows, key=lambda row: row["number"])]


def _clean_up(prepared_uri: str, results: list[ShardResult]) -> None:
    """Remove the shards that a failed run wrote."""
    for result in results:
        if result.shard and result.is_new:
            storage.delete(storage.join(prepared_uri, result.shard.name))
    if storage.exists(prepared_uri) and not storage.list_files(prepared_uri):
        storage.delete(prepared_uri)
