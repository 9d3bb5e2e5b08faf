"""Raw images and annotations → checked Parquet shards, committed by one manifest."""

from __future__ import annotations

import dataclasses
import tempfile
import uuid
from dataclasses import asdict
from pathlib import Path

from aunet.errors import InputError
from pipelines import storage
from pipelines.artifacts import PreparedData
from pipelines.config import DataConfig, RunConfig, ShapesConfig, SplitConfig, fingerprint
from pipelines.data.manifest import Manifest, manifest_uri, shards_uri
from pipelines.data.preparation import write_shards
from pipelines.data.sources import read_source

COMPLETE = "complete"
"""File beside generated scenes, written last."""


def preprocess(config: RunConfig) -> PreparedData:
    """Check the raw data and write it as shards below `<store>/prepared/`, or return what is there already.

    Nothing counts before the manifest is written, last and in one step. A run that was killed leaves shards with
    receipts; running again takes them up and gives the same manifest. Shards that were deleted are written again.

    Raises:
        InputError: everything that is wrong with the data, where more is than `data.max_bad_fraction` allows.
    """
    data, root = raw_data(config.data)
    if data.shapes is not None and not is_there(data, root):
        _generate(data.shapes, root)
    source = read_source(data, root)
    prepared_uri = storage.join(storage.store_root(), "prepared", source.fingerprint)
    place = manifest_uri(prepared_uri)
    if not storage.exists(place):
        storage.create_exclusive(place, write_shards(source, data, prepared_uri).to_bytes())
    manifest = Manifest.load(prepared_uri)
    if not _is_whole(manifest, prepared_uri):
        manifest = write_shards(source, data, prepared_uri)
        storage.write_bytes(place, manifest.to_bytes())
    _within_budget(manifest, data.max_bad_fraction)
    return PreparedData(
        uri=prepared_uri,
        fingerprint=manifest.fingerprint,
        num_images={name: split.num_images for name, split in manifest.splits.items()},
        num_quarantined={name: split.num_quarantined for name, split in manifest.splits.items()},
    )


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


def _is_whole(manifest: Manifest, prepared_uri: str) -> bool:
    """Whether all files of a manifest are there and as long as they were."""
    sizes = {
        f.path: f.size
        for folder in (prepared_uri, shards_uri(prepared_uri))
        if storage.exists(folder)
        for f in storage.list_files(folder)
    }
    files = [file for split in manifest.splits.values() for file in (split.index, *split.shards)]
    return all(sizes.get(file.name) == file.num_bytes for file in files)


def _within_budget(manifest: Manifest, max_bad_fraction: float) -> None:
    """Hold a manifest that was made with another budget to this one."""
    problems = []
    for name, split in manifest.splits.items():
        entries = split.num_images + split.num_quarantined
        if split.num_quarantined > max_bad_fraction * entries:
            problems.append(
                f"data.{name}: {split.num_quarantined} of {entries} images were left out, data.max_bad_fraction = "
                f"{max_bad_fraction} allows {int(max_bad_fraction * entries)}; mend them (the manifest names them), "
                "or allow a larger fraction"
            )
    if problems:
        raise InputError(problems)
