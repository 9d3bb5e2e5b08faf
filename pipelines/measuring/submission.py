"""Predictions as a test server wants them: one zip, checked before anybody uploads it."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aunet.categories import Categories
from aunet.data import cityscapes
from aunet.data.coco_json import ImageRecord, read_image_info, read_panoptic_json
from aunet.data.coco_panoptic import decode_panoptic
from aunet.errors import InputError, check
from aunet.names import check_name
from pipelines.store import storage

Kind = Literal["coco", "cityscapes"]
MAX_PROBLEMS = 20
"""Problems listed before the others are only counted."""
_IMAGE_INFO = re.compile(r"image_info_([A-Za-z0-9-]+)\.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSubmission:
    """What is wanted, by the options of `predict`."""

    name: str
    """Of the method."""
    kind: Kind
    image_info: str | None
    """JSON of the images of the test set; for Cityscapes None."""

    def __post_init__(self) -> None:
        check_name("--submission", self.name)
        needed = self.kind == "cityscapes" or self.image_info is not None
        check(needed, "--image-info", self.image_info, "name the JSON of the test set, image_info_test-dev2017.json")

    @property
    def stem(self) -> str:
        """Name of the zip, and of the JSON and the folder in it, without endings."""
        if self.kind == "cityscapes":
            return f"cityscapes_panoptic_test_{self.name}"
        listed = (self.image_info or "").rpartition("/")[2]
        match = _IMAGE_INFO.fullmatch(listed)
        return f"panoptic_{match[1] if match else Path(listed).stem}_{self.name}_results"


def write_submission(wanted: ServerSubmission, document_uri: str, panoptic_dir: str, out: str) -> str:
    """Check the predictions of a test set, and write them as one zip: `<stem>.json` and the PNGs in `<stem>/`.

    Args:
        document_uri: the JSON of the predictions.
        panoptic_dir: folder of their PNGs.
        out: folder of the zip, whose URI is returned.

    Raises:
        InputError: an image of the test set is missing, given twice or unknown, a PNG and the JSON name different
            segments or sizes, or a category is not one of the data set; one line per problem. No zip is written then.
    """
    data = storage.read_bytes(document_uri)
    annotations = read_panoptic_json(data, document_uri)
    _refuse([*_wrong_images(wanted, annotations.images), *_wrong_categories(wanted, annotations.categories)])

    def read(record: ImageRecord) -> tuple[bytes, list[str]]:
        content = storage.read_bytes(storage.join(panoptic_dir, record.panoptic_name))
        return content, list(_wrong_map(content, record))

    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor() as threads:
        path = Path(scratch, f"{wanted.stem}.zip")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            entries: list[dict[str, Any]] = []
            problems: list[str] = []
            for record, (content, wrong) in zip(annotations.images, threads.map(read, annotations.images), strict=True):
                problems += wrong
                entry, png = _entry(wanted, record)
                entries.append(entry)
                archive.writestr(f"{wanted.stem}/{png}", content)
            _refuse(problems)
            document = json.dumps({"annotations": entries}).encode()
            archive.writestr(f"{wanted.stem}.json", document, zipfile.ZIP_DEFLATED)
        storage.upload_folder(Path(scratch), out)
    return storage.join(out, path.name)


def _refuse(problems: Sequence[str]) -> None:
    """Raise what is wrong, if anything."""
    if problems:
        hidden = len(problems) - MAX_PROBLEMS
        raise InputError([*problems[:MAX_PROBLEMS], *([f"… and {hidden} more"] if hidden > 0 else [])])


def _entry(wanted: ServerSubmission, record: ImageRecord) -> tuple[dict[str, Any], str]:
    """The annotation of one image, and the name of its PNG."""
    base = record.file_name.rpartition("/")[2]
    frame = cityscapes.frame_of(base) if wanted.kind == "cityscapes" else None
    png = f"{frame}_panoptic.png" if frame else record.panoptic_name.rpartition("/")[2]
    segments = [{"id": s.id, "category_id": s.category_id} for s in record.segments]
    return {"image_id": frame or record.image_id, "file_name": png, "segments_info": segments}, png


def _wrong_images(wanted: ServerSubmission, records: Sequence[ImageRecord]) -> Iterator[str]:
    """Images of the test set that are missing, and others."""
    names = Counter(_entry(wanted, record)[1] for record in records)
    for name, count in names.items():
        if count > 1:
            yield f"{name}: {count} images of the test set have this name; every image needs its own"
    if wanted.image_info is None:
        return
    listed = read_image_info(storage.read_bytes(wanted.image_info), wanted.image_info)
    given: Mapping[int, str] = {record.image_id: record.file_name for record in records}
    missing = [f"image {i} ({name})" for name, i in listed.items() if i not in given]
    yield from (f"{image} of {wanted.image_info}: no prediction; label all images of the test set" for image in missing)
    unknown = sorted(given.keys() - set(listed.values()))
    yield from (f"image {i} ({given[i]}): not in {wanted.image_info}; leave it out" for i in unknown)


def _wrong_categories(wanted: ServerSubmission, categories: Categories) -> Iterator[str]:
    """Categories that the test server does not know."""
    if wanted.kind == "cityscapes":
        known = {(c.id, c.name) for c in cityscapes.CATEGORIES.entries}
        others = [c for c in categories.entries if (c.id, c.name) not in known]
        yield from (f"category {c.id} ({c.name}): not one of Cityscapes; submit a model trained on it" for c in others)


def _wrong_map(content: bytes, record: ImageRecord) -> Iterator[str]:
    """Where a PNG and its entry differ."""
    shown = f"image {record.image_id} ({record.panoptic_name})"
    ids = decode_panoptic(content)
    if ids.shape != (record.height, record.width):
        yield f"{shown}: has {ids.shape[1]}×{ids.shape[0]} pixels, its image {record.width}×{record.height}"
    pixels = dict(zip(*(column.tolist() for column in np.unique(ids, return_counts=True)), strict=True))
    pixels.pop(0, None)
    areas = {segment.id: segment.area for segment in record.segments}
    for segment in sorted(pixels.keys() ^ areas.keys()):
        where = "the PNG, not in the JSON" if segment in pixels else "the JSON, not in the PNG"
        yield f"{shown}: segment {segment} is in {where}; run `predict` again"
    for segment in sorted(pixels.keys() & areas.keys()):
        if areas[segment] != pixels[segment]:
            yield f"{shown}: segment {segment} has {pixels[segment]} pixels, the JSON says {areas[segment]}"
