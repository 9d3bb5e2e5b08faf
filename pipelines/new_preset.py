"""`new-preset`: a look at a folder of raw data → a preset for it, every setting with its reason."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from aunet.data.coco_json import ImageRecord
from aunet.data.coco_panoptic import decode_panoptic, measure_segments
from aunet.errors import InputError
from aunet.names import printable
from aunet.segments import NOT_GIVEN, Segment
from pipelines.data.sources import Source, read_source
from pipelines.lint.census import Census
from pipelines.lint.preset_text import preset_text
from pipelines.lint.proposal import Budget, Setting, propose
from pipelines.lint.raw_folder import MOST_CHOSEN, RawSplitPaths, chosen_for_val, find_splits
from pipelines.settings.own_presets import FOLDER, own_presets, preset_path
from pipelines.settings.recipes import lite0
from pipelines.settings.run_config import DataConfig, SplitConfig
from pipelines.store import storage
from pipelines.store.artifacts import VerbResult

CHECK = "`lint-data` lists all that is wrong with it"


@dataclass(frozen=True, kw_only=True, slots=True)
class NewPreset(VerbResult):
    """The preset that was written."""

    name: str
    path: str
    """Its file."""
    images: dict[str, int]
    """Of `train` and `val`."""
    model_name: str
    """In the registry."""
    settings: tuple[Setting, ...]
    classes: tuple[dict[str, Any], ...]
    """Of the training split, per category: `id name isthing segments crowds pixels images`."""

    def to_json(self) -> dict[str, Any]:
        """The fields, each setting as `name value reason`."""
        return asdict(self)


def new_preset(
    name: str,
    data: str,
    gpus: int = 0,
    *,
    taken: Collection[str] = (),
    folder: Path = FOLDER,
    pretrained: bool | None = None,
) -> NewPreset:
    """Write the preset `name` for the data in a folder; a table of its settings goes to stderr.

    Args:
        data: folder or URI in COCO panoptic format. Without a validation split, about a fifth of its images
            becomes one.
        gpus: that train; 0: CPUs.
        taken: names of presets elsewhere, which would be used in place of this one.
        folder: where the file is written.
        pretrained: whether to start from a small backbone's weights; None: where their package is installed.

    Raises:
        InputError: there is such a preset, or the data cannot be used.
    """
    if name in taken:
        raise InputError(f"NAME = {name!r}: a shipped preset has this name, and would be used; choose another")
    path = _free_path(name, folder, gpus)
    root = storage.absolute(data)
    train, val = find_splits(root)
    splits, source = _read(root, train, val)
    counts = {split.name: len(split.images) for split in source.splits}
    if pretrained is None:
        pretrained = importlib.util.find_spec(_package()) is not None and importlib.util.find_spec("timm") is not None
    census, maps_uri = Census(), storage.join(root, train.panoptic_dir)
    for image in source.splits[0].images:
        census.add(image.record.height, image.record.width, _measured(image.record, maps_uri))
    settings = propose(census, source.categories, Budget(gpus=gpus, pretrained=pretrained))
    model_name = f"aunet-{name.replace('_', '-')}"
    kinds = f"{len(source.categories.things)} kinds of things and {len(source.categories.stuff)} of stuff"
    text = preset_text(
        name=name,
        summary=f"{counts['train']} images to train on and {counts['val']} to validate, {kinds}.",
        root=root,
        splits=splits,
        settings=settings,
        model_name=model_name,
        pretrained=pretrained,
        gpus=gpus,
    )
    if not storage.create_exclusive(str(path), text.encode()):
        raise _taken(name, path)
    config = own_presets(folder)[name]()  # what was written can be read
    result = NewPreset(
        name=config.name,
        path=str(path),
        images=counts,
        model_name=model_name,
        settings=tuple(settings),
        classes=tuple(census.rows(source.categories.entries)),
    )
    _show(result, "" if val else _without_val(root, counts))
    return result


def _free_path(name: str, folder: Path, gpus: int) -> Path:
    path = preset_path(name, folder)
    if gpus < 0:
        raise InputError(f"--gpus = {gpus}: use 0 for CPUs, or the number of GPUs")
    if path.exists():
        raise _taken(name, path)
    return path


def _taken(name: str, path: Path) -> InputError:
    return InputError(f"NAME = {name!r}: {path} exists and may have been edited; delete it, or choose another name")


def _read(root: str, train: RawSplitPaths, val: RawSplitPaths | None) -> tuple[dict[str, Mapping[str, Any]], Source]:
    """The settings of both splits, and what is in them."""
    if val is not None:
        return _checked(root, {"train": asdict(train), "val": asdict(val)})
    _, source = _checked(root, {"train": asdict(train), "val": asdict(train)})
    records = [image.record for image in source.splits[0].images]
    if len(records) < 2 or len(records) > MOST_CHOSEN:
        raise InputError(
            f"--data {root}: {len(records)} images and no validation split; import them again with --val-share 0.1, or "
            f"write {train.panoptic_json} as two files, panoptic_train.json and panoptic_val.json"
        )
    ids = {record.file_name: record.image_id for record in records}
    chosen = {ids[file_name] for file_name in chosen_for_val(list(ids))}
    parts = {"train": sorted({*ids.values()} - chosen), "val": sorted(chosen)}
    return _checked(root, {split: {**asdict(train), "image_ids": tuple(part_ids)} for split, part_ids in parts.items()})


def _checked(root: str, splits: dict[str, Mapping[str, Any]]) -> tuple[dict[str, Mapping[str, Any]], Source]:
    configs = {name: SplitConfig(**fields) for name, fields in splits.items()}
    try:
        return splits, read_source(DataConfig(root=root, train=configs["train"], val=configs["val"]), root)
    except InputError as error:
        raise InputError([*error.problems, f"--data {root}: {CHECK}"]) from None


def _measured(record: ImageRecord, maps_uri: str) -> Sequence[Segment]:
    """The segments with area and box; where the JSON lacks them, its map is read."""
    if all(NOT_GIVEN not in (segment.area, segment.bbox[0]) for segment in record.segments):
        return record.segments
    measured = measure_segments(decode_panoptic(storage.read_bytes(storage.join(maps_uri, record.panoptic_name))))
    known = [segment for segment in record.segments if segment.id in measured]
    return [replace(s, area=measured[s.id][0], bbox=measured[s.id][1]) for s in known]


def _package() -> str:
    return (lite0().weights or "").removeprefix("pip:").replace("-", "_")


def _without_val(root: str, counts: Mapping[str, int]) -> str:
    return (
        f"{root} has no validation split: {counts['val']} of its {sum(counts.values())} images, chosen by their names, "
        "are one; the preset lists them, so images that are added later are in no split before it is written again. "
        "Pictures that resemble each other, as of one series, are better kept in one split: write two files then"
    )


def _show(result: NewPreset, note: str) -> None:
    console = Console(stderr=True, highlight=False)
    table = Table("setting", "value", title=f"{result.name} · {result.images}", title_justify="left")
    table.add_column("reason", overflow="fold")
    for setting in result.settings:
        value = " ".join(map(str, setting.value)) if isinstance(setting.value, list) else str(setting.value)
        table.add_row(setting.name, value, printable(setting.reason))
    console.print(table, markup=False)
    for line in filter(None, (note, f"wrote {result.path}; next: preview {result.name}, then run {result.name}")):
        console.print(line, markup=False, soft_wrap=True)
