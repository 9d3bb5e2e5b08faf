"""Raw data, in COCO panoptic format or Cityscapes as distributed: what belongs to it, whether it is complete, and what
to call it."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass

from aunet.categories import Categories
from aunet.data.cityscapes import CATEGORIES
from aunet.data.coco_json import ImageRecord, InstanceRecord, read_instances_json, read_panoptic_json
from aunet.errors import InputError
from pipelines import storage
from pipelines.config import DataConfig, SplitConfig, fingerprint, to_json
from pipelines.data.cityscapes import find_images
from pipelines.data.manifest import SCHEMA_VERSION

SHOWN_PROBLEMS = 20
"""Problems printed one by one; the rest is counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RawImage:
    """One image of a split and what its annotation files say."""

    record: ImageRecord
    """Of Cityscapes without size and segments, which its PNG holds."""
    instances: tuple[InstanceRecord, ...] | None
    """None: the split has no instances JSON."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RawSplit:
    """One split whose files are all there."""

    name: str
    config: SplitConfig
    images: tuple[RawImage, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Both splits, read and checked as far as that goes without opening a picture."""

    root: str
    categories: Categories
    splits: tuple[RawSplit, ...]
    fingerprint: str
    """16 hex digits over annotation bytes, the files' names, sizes and times, and the configuration."""


def read_source(data: DataConfig, root: str) -> Source:
    """Read the annotations of both splits below `root` and list their files.

    Raises:
        InputError: all problems at once: a file missing, JSON damaged, an unknown category, an id given twice,
            no images, an image id that is not in the data, other categories in `val` than in `train`.
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
    if len(categories) == 2 and meaning(categories[0]) != meaning(categories[1]):
        odd = sorted(set(meaning(categories[0])) ^ set(meaning(categories[1])))[0]
        problems.append(
            f"{storage.join(root, data.val.panoptic_json or data.val.images)}: its categories differ from those "
            f"of train, first in (id, name, is_thing) = {odd}; give both splits one list"
        )
    if problems:
        raise InputError(shortened(problems))
    digest.update(f"{SCHEMA_VERSION} {_settings(data)}".encode())
    return Source(root=root, categories=categories[0], splits=tuple(splits), fingerprint=digest.hexdigest()[:16])


def shortened(problems: list[str]) -> list[str]:
    """The first problems, and how many more there are."""
    rest = len(problems) - SHOWN_PROBLEMS
    return problems if rest <= 0 else [*problems[:SHOWN_PROBLEMS], f"… and {rest} more problems like these"]


def _settings(data: DataConfig) -> str:
    """What the configuration adds to the fingerprint. Settings of Cityscapes count only where they are given: data
    prepared before there were any keep their name."""
    plain = to_json(dataclasses.replace(data, root="-"))
    for split in (plain["train"], plain["val"]):
        for setting in ("instance_ids", "cities"):
            if not split[setting]:
                del split[setting]
    return fingerprint(plain)


def _read_split(
    name: str, config: SplitConfig, root: str, digest: hashlib._Hash, *, times: bool
) -> tuple[RawSplit, Categories]:
    place = storage.join(root, config.panoptic_json or config.images)
    if config.instance_ids:
        records, categories, instances = _wanted(find_images(config, root), config, name, place), CATEGORIES, None
    else:
        records, categories, instances = _read_coco(name, config, root, digest)

    problems: list[str] = []
    wanted = {"image": (config.images, [r.file_name for r in records])}
    wanted["panoptic PNG"] = (config.annotations, [r.panoptic_name for r in records])
    for kind, (folder, names) in wanted.items():
        try:
            listed = {f.path: f for f in storage.list_files(storage.join(root, folder))}
        except InputError as error:
            problems += error.problems
            continue
        for record, file_name in zip(records, names, strict=True):
            file = listed.get(file_name)
            if file is None:
                where = storage.join(root, folder, file_name)
                owner = f"the {kind} of image {record.image_id} in {place}"
                problems.append(f"{where}: missing, {owner}; add the file or drop the image")
            else:
                digest.update(f"{folder}/{file.path} {file.size} {file.modified if times else 0}\n".encode())
    if problems:
        raise InputError(problems)
    images = tuple(
        RawImage(record=r, instances=instances[r.image_id] if instances is not None else None) for r in records
    )
    return RawSplit(name=name, config=config, images=images), categories


def _read_coco(
    name: str, config: SplitConfig, root: str, digest: hashlib._Hash
) -> tuple[list[ImageRecord], Categories, dict[int, tuple[InstanceRecord, ...]] | None]:
    place = storage.join(root, config.panoptic_json)
    annotation_bytes = storage.read_bytes(place)
    annotations = read_panoptic_json(annotation_bytes, place)
    records = _wanted(annotations.images, config, name, place)
    digest.update(hashlib.sha256(annotation_bytes).digest())
    if not config.instances_json:
        return records, annotations.categories, None
    instances_place = storage.join(root, config.instances_json)
    instance_bytes = storage.read_bytes(instances_place)
    instances = read_instances_json(instance_bytes, instances_place, records, annotations.categories)
    digest.update(hashlib.sha256(instance_bytes).digest())
    return records, annotations.categories, instances


def _wanted(images: tuple[ImageRecord, ...], config: SplitConfig, name: str, place: str) -> list[ImageRecord]:
    if not images:
        raise InputError(f"{place}: no images; a data set needs at least one")
    known = {r.image_id: r for r in images}
    unknown = [i for i in config.image_ids if i not in known]
    if unknown:
        raise InputError(
            f"data.{name}.image_ids: {i} is not in {place}; take ids of its images, such as {images[0].image_id}"
            for i in unknown
        )
    return [known[i] for i in dict.fromkeys(config.image_ids)] or list(images)


def meaning(categories: Categories) -> list[tuple[int, str, bool]]:
    """What a network learns of categories: id, name and whether it is a thing; colours are left out."""
    return [(c.id, c.name, c.is_thing) for c in categories.entries]
