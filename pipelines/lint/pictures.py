"""Small pictures of defects: the region of the image in question, what the map has and what the JSON says."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from aunet.data.coco_json import ImageRecord
from aunet.data.coco_panoptic import decode_panoptic, measure_segments
from aunet.data.defects import Defect
from aunet.data.pictures import open_picture
from aunet.errors import InputError
from aunet.segments import NOT_GIVEN, Box
from pipelines.lint.split import SplitUris
from pipelines.store import storage

SIDE = 300
"""Longer side of a picture in pixels."""
MARGIN = 0.4
"""What is shown around a segment, as a fraction of its longer side."""
MAP_COLOR, JSON_COLOR = (255, 40, 160), (255, 214, 0)
"""Outline of the pixels in the map, and of the box that the JSON gives."""


def draw_defect(defect: Defect, record: ImageRecord, uris: SplitUris) -> bytes | None:
    """A JPEG of what a defect is about; None where neither image nor map can be shown."""
    ids = _ids(storage.join(uris.panoptic_dir, record.panoptic_name)) if record.panoptic_name else None
    picture = _picture(storage.join(uris.images, record.file_name)) if record.file_name else None
    if picture is None and ids is not None:
        picture = _colored(ids)
    if picture is None:
        return None
    if defect.twin:
        return _encoded(_beside(picture, _picture(defect.twin)))
    segment = next((s for s in record.segments if s.id == defect.segment), None)
    claimed = segment.bbox if segment is not None and segment.bbox[0] != NOT_GIVEN else None
    mask = ids == defect.segment if ids is not None and defect.segment is not None else None
    if mask is not None and (mask.shape != picture.size[::-1] or not mask.any()):
        mask = None
    return _encoded(_crop(picture, mask, claimed))


def _crop(picture: Image.Image, mask: NDArray[np.bool_] | None, claimed: Box | None) -> Image.Image:
    """Cut out the segment with some room, enlarge or shrink it, and draw both outlines."""
    room = 8
    boxes = [_corners(claimed)] if claimed is not None and claimed[2] > 0 and claimed[3] > 0 else []
    if mask is not None:
        boxes.append(_corners(measure_segments(mask.astype(np.int32))[1][1]))
    left, top, right, bottom = 0, 0, *picture.size
    if boxes:
        x1, y1, x2, y2 = (f(b[k] for b in boxes) for k, f in enumerate((min, min, max, max)))
        room = max(room, int(MARGIN * min(max(x2 - x1, y2 - y1), SIDE * SIDE)))
        window = max(x1 - room, 0), max(y1 - room, 0), min(x2 + room, right), min(y2 + room, bottom)
        if window[0] < window[2] and window[1] < window[3]:  # a box may be outside the image
            left, top, right, bottom = window
    scale = SIDE / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    shown = picture.crop((left, top, right, bottom)).resize(size)
    if mask is not None:
        window_mask = Image.fromarray(mask[top:bottom, left:right]).resize(size, Image.Resampling.NEAREST)
        inside = np.pad(np.asarray(window_mask, dtype=bool), 2)
        eroded = inside[:-4, 2:-2] & inside[4:, 2:-2] & inside[2:-2, :-4] & inside[2:-2, 4:]
        pixels = np.array(shown)
        pixels[inside[2:-2, 2:-2] & ~eroded] = MAP_COLOR
        shown = Image.fromarray(pixels)
    if boxes and claimed is not None:
        x1, y1, x2, y2 = (
            round(min(max(v - start, -room), end - start + room) * scale)
            for v, start, end in zip(_corners(claimed), (left, top) * 2, (right, bottom) * 2, strict=True)
        )
        ImageDraw.Draw(shown).rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=JSON_COLOR, width=2)
    return shown


def _corners(box: Box) -> Box:
    x, y, width, height = box
    return x, y, x + width, y + height


def _beside(one: Image.Image, other: Image.Image | None) -> Image.Image:
    shown = [p for p in (one, other) if p is not None]
    for picture in shown:
        picture.thumbnail((SIDE, SIDE))
    sheet = Image.new("RGB", (sum(p.width + 6 for p in shown) - 6, max(p.height for p in shown)), (128, 128, 128))
    for number, picture in enumerate(shown):
        sheet.paste(picture, (number * (shown[0].width + 6), 0))
    return sheet


def _picture(uri: str) -> Image.Image | None:
    """The image as RGB, or None."""
    try:
        picture = open_picture(storage.read_bytes(uri))[0]
        return None if picture is None else picture.convert("RGB")
    except Exception:  # noqa: BLE001 - a defect that cannot be shown is reported in words
        return None


def _ids(uri: str) -> NDArray[np.int32] | None:
    try:
        data = storage.read_bytes(uri)
        return None if open_picture(data)[0] is None else decode_panoptic(data)
    except (InputError, OSError):
        return None


def _colored(ids: NDArray[np.int32]) -> Image.Image:
    """A map in colours that tell its ids apart."""
    hashed = ids.astype(np.uint32) * np.uint32(2654435761)
    colors = np.stack([hashed >> shift & 255 for shift in (24, 16, 8)], axis=-1).astype(np.uint8)
    return Image.fromarray(np.where(ids[..., None] == 0, 0, colors // 2 + 64).astype(np.uint8))


def _encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
