"""One task of an import: draw the maps of some images, write them and link the images, and note what was done."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from PIL import Image, ImageOps

from aunet.data.coco_panoptic import encode_panoptic
from aunet.data.pictures import decode, open_picture, orientation
from aunet.errors import InputError
from aunet.names import inner_path
from pipelines.data.importing.painting import paint
from pipelines.data.importing.record import Drawer, Drawing, ImportItem, Size, Uppermost
from pipelines.data.importing.task_keys import stable, task_key
from pipelines.data.spill import Spilled
from pipelines.store import storage
from pipelines.store.panoptic_folder import PanopticFolder, put_file

IMAGES_PER_PART = 64
VERSION = 4
"""Rises when the same source gives other maps or images than before, or has other keys."""
JPEG_QUALITY = 95
"""Of an image that is stored again because of an EXIF tag."""
_CURES = {"format": "convert it to JPEG or PNG", "bomb": "make the picture smaller"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSettings:
    """How maps are painted and files are written."""

    on_top: Uppermost | None = None
    """None: as the format has it."""
    background: int | None = None
    copy: bool = False
    """Images are copied, not linked."""
    keep_void: bool = False
    """Images of which no pixel is annotated are kept."""
    skip_broken: bool = False
    """Images with an error are left out; otherwise they end the import."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportTask:
    """Some images, in order."""

    number: int
    key: str
    """32 hex digits that name the inputs: the annotations, images, files and settings."""
    items: tuple[ImportItem, ...]
    drawer: Drawer
    folder: PanopticFolder
    settings: ImportSettings


def tasks_of(
    items: Iterable[ImportItem], drawer: Drawer, folder: PanopticFolder, settings: ImportSettings
) -> Iterator[ImportTask]:
    """The tasks of an import, one after the other; only one of them is held at a time."""
    rest = iter(items)
    head = [VERSION, stable(drawer), stable(settings)]
    number = 0
    while chosen := tuple(islice(rest, IMAGES_PER_PART)):
        key = task_key(head, chosen)
        yield ImportTask(number=number, key=key, items=chosen, drawer=drawer, folder=folder, settings=settings)
        number += 1


def import_images(task: ImportTask) -> dict[str, Any]:
    """Write the images and maps of a task.

    Returns:
        `key images annotations changed problems`, as plain JSON; the entries are those of the panoptic JSON.
    """
    images, annotations, problems = [], [], []
    changed: Counter[str] = Counter()
    for item in task.items:
        try:
            entries = _import_image(task, item, changed)
        except InputError as error:
            problems += [[item.file_name, problem] for problem in error.problems]
            continue
        if entries is not None:
            images.append(entries[0])
            annotations.append(entries[1])
    return {"key": task.key, "images": images, "annotations": annotations, "changed": changed, "problems": problems}


def _import_image(
    task: ImportTask, item: ImportItem, changed: Counter[str]
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The entries of one image in `images` and `annotations`; None where it is left out."""
    if item.problem:
        raise InputError(item.problem)
    settings, drawer = task.settings, task.drawer
    data = storage.read_bytes(item.image_uri)
    picture, rule, message = open_picture(data)
    if picture is None:
        raise InputError(f"{item.image_uri}: {message}; {_CURES.get(rule, 'fetch the file again')}")
    turn = orientation(picture)
    is_tagged = turn in range(2, 9)
    stored: Size = picture.size
    turned: Size = (stored[1], stored[0]) if turn in (5, 6, 7, 8) else stored
    expected = turned if drawer.upright else stored
    drawing = Drawing(size=expected) if item.entries is None else drawer.draw(item, expected)
    if drawing.size not in (stored, turned):
        raise InputError(
            f"{item.image_uri}: {stored[0]}×{stored[1]}, but its annotation is for "
            f"{drawing.size[0]}×{drawing.size[1]}; scale one of them"
        )
    background = None if item.entries is None else settings.background
    painted = paint(drawing, drawer.categories, settings.on_top or drawer.on_top, background)
    changed += painted.changed
    if not painted.segments:
        changed["images-void" if settings.keep_void else "images-left-out"] += 1
        if not settings.keep_void:
            return None
    link_uri = storage.join(task.folder.images_uri, item.file_name)
    if not is_tagged:
        put_file(item.image_uri, link_uri, data, copy=settings.copy)
    else:
        is_turned = drawing.size == turned and (drawer.upright or turned != stored)
        is_guess = turned == stored and not drawer.upright
        rule = "images-orientation-guessed" if is_guess else "images-turned" if is_turned else "images-untagged"
        changed[rule] += 1
        storage.write_bytes(link_uri, _without_tag(picture, data, item.image_uri, is_turned=is_turned))
    map_name = map_name_of(item.file_name)
    storage.write_bytes(storage.join(task.folder.maps_uri, map_name), encode_panoptic(painted.ids))
    width, height = drawing.size
    image = {"id": item.image_id, "file_name": item.file_name, "height": height, "width": width}
    infos = [
        {"id": s.id, "category_id": s.category_id, "iscrowd": int(s.is_crowd), "area": s.area, "bbox": s.bbox}
        for s in painted.segments
    ]
    return image, {"image_id": item.image_id, "file_name": map_name, "segments_info": infos}


def map_name_of(file_name: str) -> str:
    """Name of an image's map: the image's with `.png`; only of `.jpg` and `.png` is the ending replaced."""
    path = PurePosixPath(file_name)
    return str(path.with_suffix(".png") if path.suffix in (".jpg", ".png") else path.with_name(f"{path.name}.png"))


def _without_tag(picture: Image.Image, data: bytes, image_uri: str, *, is_turned: bool) -> bytes:
    """The picture without its EXIF tag, turned as the tag says or not."""
    try:
        decode(picture, data)
    except Exception as error:  # noqa: BLE001 - whatever a decoder stumbles over is a defect of the file
        raise InputError(f"{image_uri}: cannot be decoded ({error}); fetch the file again") from None
    kind, profile = picture.format, picture.info.get("icc_profile")
    upright = ImageOps.exif_transpose(picture) if is_turned else picture
    clean = Image.frombytes(upright.mode, upright.size, upright.tobytes())
    if upright.mode == "P":
        clean.putpalette(upright.getpalette() or [])
    buffer = io.BytesIO()
    if kind == "PNG":
        clean.save(buffer, "PNG", icc_profile=profile)
    else:
        clean.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0, icc_profile=profile)
    return buffer.getvalue()


def unique_items(items: Iterable[ImportItem]) -> Iterator[ImportItem]:
    """The items; one that has the image, the map or the id of an earlier one gets that as its problem."""
    owners: Spilled[bool] = Spilled()
    for item in items:
        problem = item.problem or _name_problem(item)
        marks = (hash(("id", item.image_id)), hash(("map", map_name_of(item.file_name))))
        if not problem and any(mark in owners for mark in marks):
            problem = f"{item.image_uri}: another image has its id, its name or that of its map; rename one of them"
        for mark in marks:
            owners[mark] = True
        yield item if problem == item.problem else _broken(item, problem)


def _broken(item: ImportItem, problem: str) -> ImportItem:
    return ImportItem(image_uri=item.image_uri, file_name=item.file_name, image_id=item.image_id, problem=problem)


def _name_problem(item: ImportItem) -> str:
    try:
        inner_path(item.file_name)
    except ValueError as error:
        return f"{error}; name a file below the folder of the images"
    return ""
