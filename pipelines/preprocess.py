"""`preprocess`: raw images and annotations → checked Parquet shards, committed by one manifest."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import tempfile
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aunet.categories import Categories
from aunet.data.shapes import KINDS, VERSION, write_scenes
from aunet.errors import InputError
from pipelines.data.manifest import Manifest
from pipelines.data.preparation import RunTasks, in_parallel, write_shards
from pipelines.data.sources import Source, left_aside, read_source
from pipelines.settings.run_config import DataConfig, RunConfig, ShapesConfig, SplitConfig, fingerprint
from pipelines.store import storage
from pipelines.store.artifacts import Outlook, PreparedData
from pipelines.store.in_use import in_use
from pipelines.store.layout import PreparedFolder, RawFolder, Store


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessOutlook(Outlook):
    """What `preprocess` would do, and what is known of the data beforehand."""

    num_images: int = 0
    """Of the training split; 0: unknown."""
    num_bytes: int = 0
    """Of the training split's shards; 0: unknown."""
    categories: Categories | None = None
    """None: unknown."""
    source_fingerprint: str = ""
    prepared: PreparedData | None = None
    """Where the data is prepared already."""
    problems: tuple[str, ...] = ()
    """Why it could not run."""


def preprocess(config: RunConfig, *, run_tasks: RunTasks = in_parallel) -> PreparedData:
    """Check the raw data and write it as shards below `<store>/prepared/`, or return what is already prepared.

    Nothing counts before the manifest is written, last and in one step. A run that was killed leaves shards with
    receipts; running again uses them and gives the same manifest. Shards that were deleted are written again.

    Args:
        run_tasks: returns the result of every task that writes a shard.

    Raises:
        InputError: everything that is wrong with the data, where it is more than `data.max_bad_fraction` allows.
    """
    data, raw = raw_data(config.data)
    if data.shapes is not None and not storage.exists(raw.complete_uri):
        _generate(data.shapes, raw)
    source = read_source(data, raw.uri)
    if note := left_aside(source):
        print(f"warning: {note}", file=sys.stderr)
    store = Store.here()
    store.claim()
    folder = store.pool.prepared(source.fingerprint)
    manifest = _complete_manifest(folder)
    if manifest is None:
        with in_use(folder.pool.in_use_uri):
            _write(source, data, folder, run_tasks)
        manifest = Manifest.load(folder.uri)
    _check_budget(manifest, data.max_bad_fraction)
    return manifest.artifact(folder.uri)


def _write(source: Source, data: DataConfig, folder: PreparedFolder, run_tasks: RunTasks) -> None:
    """Write what is missing of the shards, and the manifest."""
    if not storage.exists(folder.manifest_uri):
        manifest = write_shards(source, data, folder, run_tasks)
        storage.create_exclusive(folder.manifest_uri, manifest.to_bytes())
    if _complete_manifest(folder) is None:
        manifest = write_shards(source, data, folder, run_tasks)
        storage.write_bytes(folder.manifest_uri, manifest.to_bytes())


def outlook(config: RunConfig) -> PreprocessOutlook:
    """What `preprocess` would do."""
    data, raw = raw_data(config.data)
    if data.shapes is not None and not storage.exists(raw.complete_uri):
        return PreprocessOutlook(
            stage="preprocess",
            action="run",
            why="scenes are not generated yet",
            num_images=data.shapes.num_train,
            categories=KINDS[data.shapes.kind][1],
            source_fingerprint=fingerprint(data.shapes),
        )
    try:
        source = read_source(data, raw.uri)
    except InputError as error:
        return PreprocessOutlook(
            stage="preprocess", action="run", why="the raw data is not complete", problems=error.problems
        )
    counts = {split.name: len(split.images) for split in source.splits}
    images = f"{counts['train']} + {counts['val']} images"
    known: dict[str, Any] = {
        "num_images": counts["train"],
        "categories": source.categories,
        "source_fingerprint": source.fingerprint,
    }
    note = f"; warning: {text}" if (text := left_aside(source)) else ""
    folder = Store.here().pool.prepared(source.fingerprint)
    if not storage.exists(folder.manifest_uri):
        why = f"{images} of {raw.uri} are not prepared yet{note}"
        return PreprocessOutlook(stage="preprocess", action="run", why=why, **known)
    manifest = Manifest.load(folder.uri)
    prepared = manifest.artifact(folder.uri)
    known["num_bytes"] = sum(shard.num_bytes for shard in manifest.splits["train"].shards)
    why = f"{images} are prepared in {folder.uri}{note}"
    return PreprocessOutlook(stage="preprocess", action="skip", why=why, prepared=prepared, **known)


def raw_data(data: DataConfig) -> tuple[DataConfig, RawFolder]:
    """The configuration with real paths, and their absolute root; generated scenes may not exist yet."""
    if data.shapes is None:
        return data, RawFolder(storage.absolute(data.root))
    splits = {
        name: SplitConfig(
            images=name,
            panoptic_json=f"annotations/panoptic_{name}.json",
            panoptic_dir=f"annotations/panoptic_{name}",
        )
        for name in ("train", "val")
    }
    raw = Store.here().raw(f"shapes-{fingerprint(data.shapes, VERSION)}")
    return dataclasses.replace(data, **splits), raw


def _generate(shapes: ShapesConfig, raw: RawFolder) -> None:
    """Write the scenes, and last the file that says that they are complete."""
    sizes = asdict(shapes)
    if storage.is_remote(raw.uri):
        with tempfile.TemporaryDirectory() as folder:
            write_scenes(Path(folder), **sizes)
            storage.upload_folder(Path(folder), raw.uri)
        storage.create_exclusive(raw.complete_uri, b"")
        return
    target = Path(raw.uri)
    folder = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        write_scenes(folder, **sizes)
        Path(RawFolder(str(folder)).complete_uri).touch()
        storage.rename_folder(folder, target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _complete_manifest(folder: PreparedFolder) -> Manifest | None:
    """The manifest, where all its files exist and are as long as they were."""
    if not storage.exists(folder.manifest_uri):
        return None
    manifest = Manifest.load(folder.uri)
    sizes = {
        file.path: file.size
        for uri in (folder.uri, folder.pool.shards_uri)
        if storage.exists(uri)
        for file in storage.list_files(uri)
    }
    files = [file for split in manifest.splits.values() for file in (split.index, *split.shards)]
    return manifest if all(sizes.get(file.name) == file.num_bytes for file in files) else None


def _check_budget(manifest: Manifest, max_bad_fraction: float) -> None:
    """Check a manifest that was made with another budget against this one."""
    problems = []
    for name, split in manifest.splits.items():
        entries = split.num_images + split.num_quarantined
        if split.num_quarantined > max_bad_fraction * entries:
            problems.append(
                f"data.{name}: {split.num_quarantined} of {entries} images were left out, data.max_bad_fraction = "
                f"{max_bad_fraction} allows {int(max_bad_fraction * entries)}; fix them (the manifest names them), "
                "or allow a larger fraction"
            )
    if problems:
        raise InputError(problems)
