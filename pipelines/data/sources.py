"""Raw data in COCO panoptic format or Cityscapes as distributed: what can be used of it, and its fingerprint."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aunet.categories import Categories, difference
from aunet.data.cityscapes import CATEGORIES
from aunet.data.coco_entries import LISTS
from aunet.data.coco_json import ImageRecord, check_image_ids, read_panoptic_lists
from aunet.data.defects import Defect, blocking, errors_of, quarantine
from aunet.data.instance_checks import EntriesByImage, instances_by_image
from aunet.errors import InputError
from pipelines.data.cityscapes import find_images
from pipelines.data.json_stream import stream_lists
from pipelines.data.manifest import SCHEMA_VERSION
from pipelines.data.spill import Spilled, SpilledList
from pipelines.settings.run_config import DataConfig, SplitConfig, fingerprint, to_json
from pipelines.store import storage
from pipelines.store.listing import Listing

SHOWN_PROBLEMS = 20
"""Problems printed one by one; the others are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RawImage:
    """One image of a split and what its annotation files say."""

    record: ImageRecord
    """Of Cityscapes without size and segments, which are in its PNG."""
    instances: tuple[dict[str, Any], ...] | None
    """Its entries of the instances JSON; None: the split has no such file."""
    signature: bytes
    """SHA-256 over its annotations and the names, sizes and times of its files."""
    num_bytes: int
    """Of its two files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RawSplit:
    """One split: the images that can be used, as far as that can be known without opening a picture."""

    name: str
    config: SplitConfig
    images: Collection[RawImage]
    """Not in memory: read one after the other."""
    num_entries: int
    """Images of the source, the unusable ones too."""
    num_listed: int
    """Images of the annotation file, those too that `image_ids` leaves out."""
    defects: tuple[Defect, ...]
    """Errors that cost an image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Both splits, read and checked as far as possible without opening a picture."""

    root: str
    categories: Categories
    splits: tuple[RawSplit, ...]
    fingerprint: str
    """16 hex digits over annotation bytes, the files' names, sizes and times, and the configuration."""


def read_source(data: DataConfig, root: str) -> Source:
    """Read the annotations of both splits below `root` and list their files.

    Raises:
        InputError: all problems at once: what makes a whole split unusable, such as damaged JSON or other categories
            in `val` than in `train`; and every defect of single images where they are more than
            `data.max_bad_fraction` allows.
    """
    problems: list[str] = []
    splits: list[RawSplit] = []
    categories: list[Categories] = []
    digest = hashlib.sha256()
    for name, config in (("train", data.train), ("val", data.val)):
        try:
            split, known = _read_split(name, config, root, digest, times=data.shapes is None)
        except InputError as error:
            problems += error.problems
            continue
        splits.append(split)
        categories.append(known)
        problems += over_budget(split, (), len(split.images), data.max_bad_fraction)
    if len(categories) == 2 and (spot := difference(categories[0].entries, categories[1].entries)):
        problems.append(
            f"{storage.join(root, data.val.panoptic_json or data.val.images)}: its categories differ from those "
            f"of train, {spot}; give both splits one list"
        )
    if problems:
        raise InputError(problems)
    digest.update(f"{SCHEMA_VERSION} {_settings(data)}".encode())
    return Source(root=root, categories=categories[0], splits=tuple(splits), fingerprint=digest.hexdigest()[:16])


def over_budget(
    split: RawSplit, picture_defects: Sequence[Defect], num_good: int, max_bad_fraction: float
) -> list[str]:
    """The problems of a split of which more has to be left out than allowed; none where it can be used.

    Args:
        picture_defects: what is wrong with the pictures, beside the defects of `split`.
        num_good: images that can be used.
    """
    defects = [*split.defects, *picture_defects]
    num_bad = split.num_entries - num_good
    if not defects or (max_bad_fraction and num_bad <= max_bad_fraction * split.num_entries and num_good):
        return []
    problems = [f"data.{split.name}, image {d.image}: {_line(d)}" for d in defects]
    num_hidden = len(problems) - SHOWN_PROBLEMS
    return [
        *problems[:SHOWN_PROBLEMS],
        *([f"… and {num_hidden} more problems like these"] if num_hidden > 0 else []),
        f"data.{split.name}: {num_bad} of {split.num_entries} images cannot be used "
        f"({num_bad / split.num_entries:.2%}), data.max_bad_fraction = {max_bad_fraction} allows "
        f"{int(max_bad_fraction * split.num_entries)}; fix them, or leave them out with a larger fraction",
    ]


def left_aside(source: Source) -> str:
    """The note that images are in neither of two splits that choose theirs from one JSON; empty where there are none.

    Such splits are those of a preset from before the images were added. Two splits of the same images, which a network
    is to learn by heart, are meant to have no others.
    """
    train, val = (split.config for split in source.splits)
    chosen = [set(config.image_ids) for config in (train, val)]
    num_images = source.splits[0].num_listed - len(chosen[0] | chosen[1])
    is_cut = train.panoptic_json and train.panoptic_json == val.panoptic_json and all(chosen) and chosen[0] != chosen[1]
    if not is_cut or num_images <= 0:
        return ""
    return (
        f"images of {storage.join(source.root, train.panoptic_json)} that are in neither data.train.image_ids nor "
        f"data.val.image_ids and are not used: {num_images}; add their ids, or write the preset again with `new-preset`"
    )


def _line(defect: Defect) -> str:
    return f"{defect.message} [{defect.rule}]; {defect.cure}"


def _settings(data: DataConfig) -> str:
    """The settings in the fingerprint: those that change the content or how it is cut."""
    plain = to_json(dataclasses.replace(data, root="-"))
    del plain["max_bad_fraction"]
    return fingerprint(plain)


def _read_split(
    name: str, config: SplitConfig, root: str, digest: hashlib._Hash, *, times: bool
) -> tuple[RawSplit, Categories]:
    instances: EntriesByImage | None = None
    source_uri = storage.join(root, config.panoptic_json or config.images)
    if config.instance_ids:
        records, defects = find_images(config, root)
        categories, num_entries = CATEGORIES, len(records)
    else:
        records, categories, instances, defects, num_entries = _read_coco(config, root)
    if not num_entries:
        raise InputError(f"{source_uri}: no images; a data set needs at least one")
    num_listed, chosen = num_entries, dict.fromkeys(config.image_ids)
    known = {d.image for d in defects}
    if unknown := [i for i in chosen if i not in records and i not in known]:
        raise InputError(
            f"data.{name}.image_ids: {i} is not in {source_uri}; use ids of its images, such as {next(iter(records))}"
            for i in unknown
        )
    if chosen:
        records, num_entries = {i: records[i] for i in chosen if i in records}, len(chosen)
        defects = [d for d in defects if d.image in chosen]

    images, maps = (Listing(storage.join(root, folder), Spilled) for folder in (config.images, config.annotations))
    unusable = quarantine(errors_of(defects, counted=True))
    usable: SpilledList[RawImage] = SpilledList()
    for record in records.values():
        image, segment_map = images.files.get(record.file_name), maps.files.get(record.panoptic_name)
        if image is None or segment_map is None:
            defects += _missing(record, images, maps)
            continue
        if record.image_id in unusable:
            continue
        entries = None if instances is None else tuple(instances[record.image_id])
        files = [(f.path, f.size, f.modified if times else 0) for f in (image, segment_map)]
        signature = _signature(record, entries, files)
        num_bytes = image.size + segment_map.size
        usable.append(RawImage(record=record, instances=entries, signature=signature, num_bytes=num_bytes))
        digest.update(signature)
    errors = errors_of(defects, counted=True)
    digest.update(json.dumps([categories.to_json(), [d.to_json() for d in errors]]).encode())
    split = RawSplit(
        name=name,
        config=config,
        images=usable,
        num_entries=num_entries,
        num_listed=num_listed,
        defects=tuple(errors),
    )
    return split, categories


def _missing(record: ImageRecord, images: Listing, maps: Listing) -> list[Defect]:
    """A defect for each file of a record that its folder lacks."""
    return [
        Defect(rule=f"{kind}-missing", image=record.image_id, message=f"{name}: {listing.missing(name)}")
        for kind, listing, name in (("image", images, record.file_name), ("map", maps, record.panoptic_name))
        if name and name not in listing.files
    ]


def _signature(
    record: ImageRecord, instances: tuple[dict[str, Any], ...] | None, files: list[tuple[str, int, int]]
) -> bytes:
    """SHA-256 of what the shards are made of. Other keys or kinds of values would rename all prepared data."""
    segments = [
        {"id": s.id, "category_id": s.category_id, "is_crowd": s.is_crowd, "area": s.area, "bbox": s.bbox}
        for s in record.segments
    ]
    annotation = {
        "image_id": record.image_id,
        "file_name": record.file_name,
        "height": record.height,
        "width": record.width,
        "panoptic_name": record.panoptic_name,
        "segments": segments,
    }
    signature = hashlib.sha256(repr(files).encode())
    signature.update(json.dumps([annotation, instances], sort_keys=True).encode())
    return signature.digest()


def _read_coco(
    config: SplitConfig, root: str
) -> tuple[Mapping[int, ImageRecord], Categories, EntriesByImage | None, list[Defect], int]:
    """Records by image id, categories, instances by image id, defects, and the number of images in the JSON."""
    uri = storage.join(root, config.panoptic_json)
    lists = stream_lists(uri, LISTS["panoptic"], config.panoptic_json)
    annotations = read_panoptic_lists(lists, config.panoptic_json, Spilled)
    check_image_ids(annotations.records, uri)
    defects, instances = list(annotations.defects), None
    if config.instances_json:
        lists = stream_lists(storage.join(root, config.instances_json), LISTS["instances"], config.instances_json)
        instances = instances_by_image(lists, config.instances_json, annotations.records, defects, Spilled)
    if errors := blocking(defects):
        raise InputError(f"{root}: {_line(error)}" for error in errors)
    return annotations.records, annotations.categories, instances, defects, annotations.num_images


def named(config: SplitConfig, record: ImageRecord) -> ImageRecord:
    """The same record with its files named from `data.root` on."""
    return dataclasses.replace(
        record,
        file_name=storage.join(config.images, record.file_name),
        panoptic_name=storage.join(config.annotations, record.panoptic_name),
    )
