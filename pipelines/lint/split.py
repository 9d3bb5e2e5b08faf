"""One split of raw data, read whole and held to every rule: what `lint-data` and preprocessing look at."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from aunet.data.coco_json import ImageRecord
from aunet.errors import InputError
from pipelines import storage
from pipelines.lint.classes import Tally, class_defects
from pipelines.lint.images import ImageLint, lint_image
from pipelines.lint.instances import lint_instances
from pipelines.lint.json import LenientAnnotations, read_leniently
from pipelines.lint.leakage import Print, find_leaks, find_repeated
from pipelines.lint.rules import Defect, quarantine

A = TypeVar("A")
B = TypeVar("B")

BATCH = 256
"""Images whose results wait for each other; what is held of an image in the meantime is a few hundred bytes."""
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Endings of the files of another split that is given as a folder alone."""
_SHOWN = 5
"""Names given of files that no entry names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RawPlaces:
    """Where the files of one split lie: URIs of folders and files."""

    images: str
    panoptic_json: str
    panoptic_dir: str
    instances_json: str | None = None


@dataclass(kw_only=True)
class DataLint:
    """What a whole split showed."""

    places: RawPlaces
    annotations: LenientAnnotations
    defects: list[Defect]
    classes: list[dict[str, Any]] = field(default_factory=list)
    """Per category: `id name isthing segments crowds pixels images`."""

    @property
    def num_quarantined(self) -> int:
        """Entries of `images` that a strict reader leaves out; the others are whole."""
        return self.annotations.num_images - len(set(self.annotations.records) - set(quarantine(self.defects)))


class Folder:
    """A folder of raw files, listed once.

    Raises:
        InputError: there is no such folder.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.files = {f.path: f for f in storage.list_files(uri)}

    @property
    def names(self) -> Set[str]:
        return self.files.keys()

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {name.casefold(): name for name in self.names}

    def missing(self, name: str) -> str:
        """What to say of a file that is not there."""
        alike = self._folded.get(name.casefold())
        return f"missing in {self.uri}" + (f"; there is {alike}, and capitals matter" if alike else "")

    def read(self, name: str) -> bytes | OSError:
        """A file's content, or why it cannot be had."""
        if name not in self.files:
            return FileNotFoundError(self.missing(name))
        try:
            return storage.read_bytes(storage.join(self.uri, name))
        except InputError as error:
            return FileNotFoundError(str(error))
        except OSError as error:
            return OSError(f"cannot be read ({error})")


def lint(places: RawPlaces, others: list[Print] | None = None) -> DataLint:
    """Hold one split to every rule.

    Args:
        places: of its files.
        others: what tells the pictures of the other split, from `other_prints`; None: not compared.

    Raises:
        InputError: a file or folder of `places` is not there; all of them at once.
    """
    images, maps, content = _opened(places)
    json_name = places.panoptic_json.rsplit("/", 1)[-1]
    annotations = read_leniently(content["--panoptic-json"], json_name)
    defects = list(annotations.defects)
    if places.instances_json is not None:
        defects += lint_instances(content["--instances-json"], places.instances_json.rsplit("/", 1)[-1], annotations)
    content.clear()
    records = list(annotations.records.values())
    defects += _unused(images, {r.file_name for r in records})
    defects += _unused(maps, {r.panoptic_name for r in records})

    def look(record: ImageRecord) -> ImageLint:
        return lint_image(record, images.read(record.file_name), maps.read(record.panoptic_name))

    tally = Tally()
    prints: list[Print] = []
    for seen in in_threads(look, records, "images"):
        defects += seen.defects
        tally.add(seen)
        uri = storage.join(places.images, seen.record.file_name)
        prints.append(Print(image=seen.record.image_id, uri=uri, sha256=seen.sha256, looks=seen.looks))
    defects += find_repeated(prints)
    if others is not None:
        defects += find_leaks(prints, others)
    classes = tally.rows(annotations)
    defects += class_defects(classes, json_name)
    return DataLint(places=places, annotations=annotations, defects=defects, classes=classes)


def other_prints(images: str, panoptic_json: str | None = None) -> list[Print]:
    """What tells the pictures of the other split.

    Raises:
        InputError: there is no such folder or file.
    """
    try:
        folder = Folder(images)
        content = None if panoptic_json is None else storage.read_bytes(panoptic_json)
    except InputError as error:
        raise InputError(f"--against {problem}" for problem in error.problems) from None
    if panoptic_json is None or content is None:
        chosen = sorted(n for n in folder.names if n.lower().endswith(PICTURES))
    else:
        records = read_leniently(content, panoptic_json).records.values()
        chosen = [r.file_name for r in records if r.file_name in folder.names]

    def look(name: str) -> Print:
        record = ImageRecord(image_id=0, file_name=name, height=0, width=0, panoptic_name="", segments=())
        seen = lint_image(record, folder.read(name), FileNotFoundError())
        return Print(image=None, uri=storage.join(images, name), sha256=seen.sha256, looks=seen.looks)

    return list(in_threads(look, chosen, "images of the other split"))


def in_threads(work: Callable[[A], B], items: list[A], what: str) -> Iterator[B]:
    """`work` of every item, in their order, by a few threads; a bar on a terminal tells how far it is."""
    from concurrent.futures import ThreadPoolExecutor

    from PIL.Image import DecompressionBombWarning
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with (
        warnings.catch_warnings(),
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
        ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as threads,
    ):
        warnings.simplefilter("ignore", DecompressionBombWarning)  # a rule of its own tells
        bar = progress.add_task(what, total=len(items))
        for first in range(0, len(items), BATCH):
            for result in threads.map(work, items[first : first + BATCH]):
                progress.advance(bar)
                yield result


def _opened(places: RawPlaces) -> tuple[Folder, Folder, dict[str, bytes]]:
    """Both folders, and option → content of the JSON files."""
    folders: list[Folder] = []
    content: dict[str, bytes] = {}
    problems: list[str] = []
    for option, uri in (
        ("--images", places.images),
        ("--panoptic-dir", places.panoptic_dir),
        ("--panoptic-json", places.panoptic_json),
        ("--instances-json", places.instances_json),
    ):
        try:
            if option in ("--images", "--panoptic-dir"):
                folders.append(Folder(uri or ""))
            elif uri is not None:
                content[option] = storage.read_bytes(uri)
        except InputError as error:
            problems += [f"{option} {problem}" for problem in error.problems]
    if problems:
        raise InputError(problems)
    return folders[0], folders[1], content


def _unused(folder: Folder, used: set[str]) -> Iterator[Defect]:
    rest = sorted(folder.names - used)
    if rest:
        some = ", ".join(rest[:_SHOWN]) + (", …" if len(rest) > _SHOWN else "")
        yield Defect(rule="file-unused", message=f"{folder.uri}: no entry names {len(rest)} of its files: {some}")
