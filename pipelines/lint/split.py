"""One split of raw data, read as a whole and checked against every rule.

What the JSON files say is in temporary files. In memory are the names of all files and the fingerprints of all
pictures, which are compared with each other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import Progress

from aunet.data.coco_entries import LISTS, JsonKind
from aunet.data.coco_json import ImageRecord, PanopticAnnotations, read_panoptic_lists
from aunet.data.defects import Defect, quarantine
from aunet.data.image_checks import ImageCheck, check_image
from aunet.data.instance_checks import check_instances_json
from aunet.data.leakage import Print, find_leaks, find_repeated
from aunet.data.pictures import PICTURE_ENDINGS
from aunet.errors import InputError
from pipelines.data.json_stream import stream_lists
from pipelines.data.spill import Spilled
from pipelines.lint.classes import Tally, class_defects
from pipelines.store import storage
from pipelines.store.listing import Listing

A = TypeVar("A")
B = TypeVar("B")
Lists = Iterator[tuple[str, Iterator[Any]]]
"""As `stream_lists` gives them."""

BATCH = 256
"""Images whose results wait for each other; what is kept of an image in the meantime is a few hundred bytes."""
SHOWN_FILES = 5
"""Files named of those that no entry names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitUris:
    """The folders and files of one split."""

    images: str
    panoptic_json: str
    panoptic_dir: str
    instances_json: str | None = None


@dataclass(kw_only=True)
class SplitLint:
    """What a split showed."""

    uris: SplitUris
    annotations: PanopticAnnotations
    defects: list[Defect]
    classes: list[dict[str, Any]] = field(default_factory=list)
    """Per category: `id name isthing segments crowds pixels images`."""

    @property
    def num_quarantined(self) -> int:
        """Entries of `images` that a strict reader leaves out; the others have no error."""
        records = self.annotations.records
        return self.annotations.num_images - len(records) + sum(i in records for i in quarantine(self.defects))


def lint_split(uris: SplitUris, others: list[Print] | None = None) -> SplitLint:
    """Check one split against every rule.

    Args:
        uris: of its folders and files.
        others: the fingerprints of the other split's pictures, from `other_prints`; None: not compared.

    Raises:
        InputError: a file or folder of `uris` does not exist; all of them at once.
    """
    images, maps, lists, instances = _opened(uris)
    json_name = _file_name(uris.panoptic_json)
    annotations = read_panoptic_lists(lists, json_name, Spilled)
    defects, records = list(annotations.defects), annotations.records.values()
    if uris.instances_json is not None:
        defects += check_instances_json(instances, _file_name(uris.instances_json), annotations, Spilled)
    defects += _unused(images, {record.file_name for record in records})
    defects += _unused(maps, {record.panoptic_name for record in records})

    def check(record: ImageRecord) -> ImageCheck:
        return check_image(record, images.read(record.file_name), maps.read(record.panoptic_name))

    tally = Tally()
    prints: list[Print] = []
    for checked in in_threads(check, records, "images"):
        defects += checked.defects
        tally.add(checked.record.segments, {number: area for number, (area, _) in checked.measured.items()})
        uri = storage.join(uris.images, checked.record.file_name)
        prints.append(_print(checked, uri, checked.record.image_id))
    defects += find_repeated(prints)
    if others is not None:
        defects += find_leaks(prints, others)
    classes = tally.rows(annotations.categories_by_id.values())
    defects += class_defects(classes, json_name)
    return SplitLint(uris=uris, annotations=annotations, defects=defects, classes=classes)


def other_prints(images: str, panoptic_json: str | None = None) -> list[Print]:
    """The fingerprints of the other split's pictures.

    Raises:
        InputError: no such folder or file.
    """
    try:
        listing = Listing(images)
        lists = None if panoptic_json is None else _lists("panoptic", panoptic_json)
    except InputError as error:
        raise InputError(f"--against {problem}" for problem in error.problems) from None
    if panoptic_json is None or lists is None:
        chosen = sorted(name for name in listing.names if name.lower().endswith(PICTURE_ENDINGS))
    else:
        records = read_panoptic_lists(lists, panoptic_json, Spilled).records.values()
        chosen = [record.file_name for record in records if record.file_name in listing.names]

    def fingerprint(name: str) -> Print:
        record = ImageRecord(image_id=0, file_name=name, height=0, width=0, panoptic_name="", segments=())
        checked = check_image(record, listing.read(name), FileNotFoundError())
        return _print(checked, storage.join(images, name))

    return list(in_threads(fingerprint, chosen, "images of the other split"))


def in_threads(work: Callable[[A], B], items: Collection[A], title: str) -> Iterator[B]:
    """`work` of every item, in their order, by a few threads; on a terminal, a bar shows the progress."""
    remaining = iter(items)
    console = Console(stderr=True)
    with (
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
        ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as threads,
    ):
        bar = progress.add_task(title, total=len(items))
        while batch := list(islice(remaining, BATCH)):
            for result in threads.map(work, batch):
                progress.advance(bar)
                yield result


def _print(checked: ImageCheck, uri: str, image_id: Any = None) -> Print:
    return Print(image=image_id, uri=uri, sha256=checked.sha256, difference_hash=checked.difference_hash)


def _opened(uris: SplitUris) -> tuple[Listing, Listing, Lists, Lists]:
    """Both folders, the lists of the panoptic JSON, and those of the instances JSON, where there is one."""
    opened: list[Any] = []
    problems: list[str] = []
    for option, uri, open_one in (
        ("--images", uris.images, Listing),
        ("--panoptic-dir", uris.panoptic_dir, Listing),
        ("--panoptic-json", uris.panoptic_json, partial(_lists, "panoptic")),
        ("--instances-json", uris.instances_json, partial(_lists, "instances")),
    ):
        try:
            opened.append(iter(()) if uri is None else open_one(uri))
        except InputError as error:
            problems += [f"{option} {problem}" for problem in error.problems]
    if problems:
        raise InputError(problems)
    images, maps, lists, instances = opened
    return images, maps, lists, instances


def _lists(kind: JsonKind, uri: str) -> Lists:
    return stream_lists(uri, LISTS[kind], _file_name(uri))


def _unused(listing: Listing, used: set[str]) -> Iterator[Defect]:
    unused = sorted(listing.names - used)
    if unused:
        names = ", ".join(unused[:SHOWN_FILES]) + (", …" if len(unused) > SHOWN_FILES else "")
        yield Defect(rule="file-unused", message=f"{listing.uri}: no entry names {len(unused)} of its files: {names}")


def _file_name(uri: str) -> str:
    return uri.rsplit("/", 1)[-1]
