"""Raw data, in COCO panoptic format or Cityscapes as distributed: what belongs to it, what of it can be used, and what
to call it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aunet.categories import Categories
from aunet.data.cityscapes import CATEGORIES
from aunet.data.coco_json import ImageRecord, check_image_ids
from aunet.errors import InputError
from pipelines import storage
from pipelines.config import DataConfig, SplitConfig, fingerprint, to_json
from pipelines.data.cityscapes import find_images
from pipelines.data.manifest import SCHEMA_VERSION
from pipelines.lint.instances import sort_instances
from pipelines.lint.json import parse, read_leniently
from pipelines.lint.rules import RULES, Defect, blocking, errors_of, quarantine
from pipelines.lint.split import Folder

SHOWN_PROBLEMS = 20
"""Problems printed one by one; the rest is counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RawImage:
    """One image of a split and what its annotation files say."""

    record: ImageRecord
    """Of Cityscapes without size and segments, which its PNG holds."""
    instances: tuple[dict[str, Any], ...] | None
    """Its entries of the instances JSON; None: the split has none."""
    signature: bytes
    """SHA-256 over its annotations and the names, sizes and times of its files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RawSplit:
    """One split: the images that can be used as far as that shows without opening a picture."""

    name: str
    config: SplitConfig
    images: tuple[RawImage, ...]
    num_entries: int
    """Images of the source, the unusable ones too."""
    defects: tuple[Defect, ...]
    """Errors that cost an image."""


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
    if len(categories) == 2 and meaning(categories[0]) != meaning(categories[1]):
        odd = sorted(set(meaning(categories[0])) ^ set(meaning(categories[1])))[0]
        problems.append(
            f"{storage.join(root, data.val.panoptic_json or data.val.images)}: its categories differ from those "
            f"of train, first in (id, name, is_thing) = {odd}; give both splits one list"
        )
    if problems:
        raise InputError(problems)
    digest.update(f"{SCHEMA_VERSION} {_settings(data)}".encode())
    return Source(root=root, categories=categories[0], splits=tuple(splits), fingerprint=digest.hexdigest()[:16])


def over_budget(split: RawSplit, found: Sequence[Defect], num_good: int, max_bad_fraction: float) -> list[str]:
    """The problems of a split of which more has to be left out than allowed; none where it can be used.

    Args:
        found: defects that the pictures showed, beside those of `split`.
        num_good: images that can be used.
    """
    defects = [*split.defects, *found]
    num_bad = split.num_entries - num_good
    if not defects or (max_bad_fraction and num_bad <= max_bad_fraction * split.num_entries and num_good):
        return []
    shown = [f"data.{split.name}, image {d.image}: {d.message} [{d.rule}]; {RULES[d.rule].cure}" for d in defects]
    rest = len(shown) - SHOWN_PROBLEMS
    return [
        *shown[:SHOWN_PROBLEMS],
        *([f"… and {rest} more problems like these"] if rest > 0 else []),
        f"data.{split.name}: {num_bad} of {split.num_entries} images cannot be used "
        f"({num_bad / split.num_entries:.2%}), data.max_bad_fraction = {max_bad_fraction} allows "
        f"{int(max_bad_fraction * split.num_entries)}; mend them, or leave them out with a larger fraction",
    ]


def _settings(data: DataConfig) -> str:
    """What the configuration adds to the fingerprint: what changes the content or how it is cut."""
    plain = to_json(dataclasses.replace(data, root="-"))
    del plain["max_bad_fraction"]
    return fingerprint(plain)


def _read_split(
    name: str, config: SplitConfig, root: str, digest: hashlib._Hash, *, times: bool
) -> tuple[RawSplit, Categories]:
    instances: dict[int, list[Any]] | None = None
    place = storage.join(root, config.panoptic_json or config.images)
    if config.instance_ids:
        records, defects = find_images(config, root)
        categories, num_entries = CATEGORIES, len(records)
    else:
        records, categories, instances, defects, num_entries = _read_coco(config, root)
    if not num_entries:
        raise InputError(f"{place}: no images; a data set needs at least one")
    chosen = dict.fromkeys(config.image_ids)
    known = {*records, *(d.image for d in defects)}
    if unknown := [i for i in chosen if i not in known]:
        raise InputError(
            f"data.{name}.image_ids: {i} is not in {place}; take ids of its images, such as {next(iter(records))}"
            for i in unknown
        )
    if chosen:
        records, num_entries = {i: records[i] for i in chosen if i in records}, len(chosen)
        defects = [d for d in defects if d.image in chosen]

    folders = {"image": Folder(storage.join(root, config.images))}
    folders["map"] = Folder(storage.join(root, config.annotations))
    for record in records.values():
        defects += [
            Defect(rule=f"{kind}-missing", image=record.image_id, message=f"{name}: {folders[kind].missing(name)}")
            for kind, name in (("image", record.file_name), ("map", record.panoptic_name))
            if name and name not in folders[kind].files
        ]
    errors = errors_of(defects, counted=True)
    bad = quarantine(errors)
    images = []
    for record in records.values():
        if record.image_id in bad:
            continue
        entries = None if instances is None else tuple(instances.get(record.image_id, ()))
        files = folders["image"].files[record.file_name], folders["map"].files[record.panoptic_name]
        signature = hashlib.sha256(repr([(f.path, f.size, f.modified if times else 0) for f in files]).encode())
        signature.update(json.dumps([dataclasses.asdict(record), entries], sort_keys=True).encode())
        images.append(RawImage(record=record, instances=entries, signature=signature.digest()))
    for image in images:
        digest.update(image.signature)
    digest.update(json.dumps([categories.to_json(), [d.to_json() for d in errors]]).encode())
    split = RawSplit(name=name, config=config, images=tuple(images), num_entries=num_entries, defects=tuple(errors))
    return split, categories


def _read_coco(
    config: SplitConfig, root: str
) -> tuple[dict[int, ImageRecord], Categories, dict[int, list[Any]] | None, list[Defect], int]:
    """Records by image id, categories, instances by image id, defects, and the number of images in the JSON."""
    place = storage.join(root, config.panoptic_json)
    found = read_leniently(storage.read_bytes(place), config.panoptic_json)
    check_image_ids(found.records, place)
    defects, instances = list(found.defects), None
    if config.instances_json:
        where = storage.join(root, config.instances_json)
        whole = parse(storage.read_bytes(where), config.instances_json, ("annotations",), defects)
        entries = whole["annotations"] if whole else []
        instances = sort_instances(entries, config.instances_json, found.records, defects)
    if whole_split := blocking(defects):
        raise InputError(f"{root}: {d.message} [{d.rule}]; {RULES[d.rule].cure}" for d in whole_split)
    return found.records, Categories.from_json(found.raw_categories, place), instances, defects, found.num_images


def named(config: SplitConfig, record: ImageRecord) -> ImageRecord:
    """The same record with its files named from `data.root` on."""
    return dataclasses.replace(
        record,
        file_name=storage.join(config.images, record.file_name),
        panoptic_name=storage.join(config.annotations, record.panoptic_name),
    )


def meaning(categories: Categories) -> list[tuple[int, str, bool]]:
    """What a network learns of categories: id, name and whether it is a thing; colours are left out."""
    return [(c.id, c.name, c.is_thing) for c in categories.entries]
