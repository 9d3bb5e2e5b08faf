"""The two pictures of an image, looked at byte by byte: what no reader, or not every reader, would get right."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aunet.data.coco_json import ImageRecord
from aunet.data.coco_panoptic import decode_panoptic, measure_segments
from pipelines.lint.json import NOT_GIVEN
from pipelines.lint.leakage import difference_hash
from pipelines.lint.rules import Defect

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

ORIENTATION = 0x0112
"""The EXIF tag that turns a picture; 1 is upright."""
_SIGNS = ("truncated", "unexpected end", "end of file")
"""Words of decoders that ran out of bytes."""
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
Broken = list[tuple[str, str]]
"""Rule id and what was seen."""
Size = tuple[int, int]
"""(width, height)."""


@dataclass(kw_only=True)
class ImageLint:
    """What the files of one image showed."""

    record: ImageRecord
    defects: list[Defect] = field(default_factory=list)
    measured: dict[int, tuple[int, tuple[int, int, int, int]]] = field(default_factory=dict)
    """Segment id → (area, bbox) as counted from the map."""
    sha256: bytes = b""
    """Of the image file; empty where there is none."""
    looks: int | None = None
    """Perceptual hash of the image; None where there is none."""


def lint_image(
    record: ImageRecord, image: bytes | OSError, panoptic: bytes | OSError, *, prints: bool = True
) -> ImageLint:
    """Hold the files of one image to the rules.

    Args:
        record: what the JSON says of it, as `lint_json` or `coco_json` read it; files without a name are left out.
        image: the image file, or why it could not be read.
        panoptic: the panoptic PNG, likewise.
        prints: also take what tells this picture from others, `sha256` and `looks`.
    """
    found = ImageLint(record=record)
    sizes: dict[str, Size] = {"JSON": (record.width, record.height)} if record.width * record.height else {}
    if record.file_name:
        broken, picture = _check_image(image)
        _tell(found, record.file_name, broken)
        if prints and isinstance(image, bytes):
            found.sha256 = hashlib.sha256(image).digest()
        if picture is not None:
            sizes["image"] = picture.size
            found.looks = difference_hash(picture) if prints else None
    if record.panoptic_name:
        broken, size, ids = _check_map(panoptic)
        _tell(found, record.panoptic_name, broken)
        if size is not None:
            sizes["map"] = size
        if ids is not None:
            found.measured = measure_segments(ids)
            _check_segments(found, with_measures=sizes.get("JSON", size) == size)
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{kind} {width}×{height}" for kind, (width, height) in sizes.items())
        _tell(found, record.file_name, [("size-mismatch", said)])
    return found


def _tell(found: ImageLint, name: str, broken: Broken) -> None:
    found.defects += [
        Defect(rule=rule, image=found.record.image_id, message=f"{name}: {said}" if name else said)
        for rule, said in broken
    ]


def _check_image(data: bytes | OSError) -> tuple[Broken, Image | None]:
    """What is wrong with an image file, and the picture where it can be decoded."""
    if isinstance(data, OSError):
        return [("image-missing" if isinstance(data, FileNotFoundError) else "image-unreadable", str(data))], None
    picture, rule, said = open_picture(data)
    if picture is None:
        return [(f"image-{rule}", said)], None
    broken: Broken = []
    if (depth := _depth(picture, data)) > 8:
        broken.append(("image-16-bit", f"{picture.format} of mode {picture.mode}, {depth} bits"))
    if picture.mode == "CMYK":
        broken.append(("image-cmyk", f"{picture.format} of mode CMYK"))
    if failure := _failure(picture, data):
        return [(f"image-{failure[0]}", failure[1]), *broken], None
    if (orientation := _orientation(picture)) not in (0, 1):
        broken.append(("image-rotated", f"EXIF orientation {orientation}"))
    return broken, picture


def _check_map(data: bytes | OSError) -> tuple[Broken, Size | None, NDArray[np.int32] | None]:
    """What is wrong with a panoptic PNG, its size, and its ids where they can be decoded."""
    if isinstance(data, OSError):
        rule = "map-missing" if isinstance(data, FileNotFoundError) else "map-unreadable"
        return [(rule, str(data))], None, None
    picture, _, said = open_picture(data)
    if picture is None:
        return [("map-unreadable", said)], None, None
    depth = _depth(picture, data)
    if picture.format != "PNG" or picture.mode not in ("RGB", "RGBA") or depth > 8:
        said = f"{picture.format} of mode {picture.mode}, {depth} bits per channel"
        return [("map-mode", said)], picture.size, None
    try:
        _verify_png(picture, data)
        return [], picture.size, decode_panoptic(data)
    except Exception as error:  # noqa: BLE001 - what a decoder stumbles over is a defect of the file
        return [("map-unreadable", f"PNG of {len(data)} bytes cannot be decoded ({error})")], None, None


def _check_segments(found: ImageLint, *, with_measures: bool) -> None:
    """The map against the segments of the JSON, both ways."""
    record = found.record

    def tell(rule: str, segment: int | None, said: str) -> None:
        message = f"{record.panoptic_name}: {said}"
        found.defects.append(Defect(rule=rule, image=record.image_id, segment=segment, message=message))

    if not found.measured:
        tell("map-void", None, "no pixel has an id")
    known = {s.id: s for s in record.segments}
    for segment_id in sorted(set(found.measured) - set(known)):
        area, bbox = found.measured[segment_id]
        tell("segment-not-in-json", segment_id, f"id {segment_id} has {area} pixels in {list(bbox)}, but no segment")
    for segment_id, segment in known.items():
        if segment_id not in found.measured:
            rule = "segment-empty" if segment.area == 0 else "segment-not-in-map"
            area = "" if segment.area == NOT_GIVEN else f", area {segment.area} by the JSON,"
            tell(rule, segment_id, f"segment {segment_id}{area} has no pixel")
        elif with_measures:
            area, bbox = found.measured[segment_id]
            if segment.area not in (area, NOT_GIVEN):
                tell("area-wrong", segment_id, f"segment {segment_id} has area {segment.area}, the map {area}")
            if segment.bbox != bbox and segment.bbox[0] != NOT_GIVEN:
                said = f"segment {segment_id} has bbox {list(segment.bbox)}, the map {list(bbox)}"
                tell("bbox-wrong", segment_id, said)


def open_picture(data: bytes) -> tuple[Image | None, str, str]:
    """The picture, its pixels not yet decoded; or None with the end of a rule's id and what was seen."""
    from PIL import Image, UnidentifiedImageError

    starting = f"{len(data)} bytes starting with {data[:24]!r}"
    try:
        picture = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        known = data.startswith((b"\xff\xd8\xff", b"\x89PNG"))
        said = f"cut off in its head, {len(data)} bytes" if known else f"{_kind(data)}, {starting}"
        return None, "truncated" if known else "not-picture", said
    except Image.DecompressionBombError as error:
        return None, "bomb", str(error)
    except Exception as error:  # noqa: BLE001 - what a decoder stumbles over is a defect of the file
        return None, _blame(error), f"cannot be opened ({error!r:.120}), {starting}"
    if picture.width * picture.height > (Image.MAX_IMAGE_PIXELS or 2**63):
        return None, "bomb", f"{picture.width}×{picture.height} pixels, over {Image.MAX_IMAGE_PIXELS}"
    return picture, "", ""


def _failure(picture: Image, data: bytes) -> tuple[str, str] | None:
    """Decode the pixels: None, or the end of a rule's id and what went wrong."""
    from PIL import Image

    try:
        if picture.format == "PNG":
            with Image.open(io.BytesIO(data)) as again:
                _verify_png(again, data)
        picture.load()
    except Exception as error:  # noqa: BLE001 - what a decoder stumbles over is a defect of the file
        return _blame(error), f"{picture.format} of {len(data)} bytes cannot be decoded ({error})"
    return None


def _verify_png(picture: Image, data: bytes) -> None:
    """The checksum of every chunk and the end, which decoding alone does not look at. `picture` is spent then."""
    picture.verify()
    if _PNG_END not in data:
        raise OSError("truncated: the last chunk is not whole")


def _blame(error: Exception) -> str:
    return "truncated" if any(sign in str(error).lower() for sign in _SIGNS) else "unreadable"


def _depth(picture: Image, data: bytes) -> int:
    """Bits per channel as stored: Pillow drops half of those of a 16-bit RGB picture in silence."""
    if picture.format == "PNG":
        return data[24]
    raw = " ".join(str(part) for tile in getattr(picture, "tile", ()) for part in tile)
    return 32 if picture.mode in ("I", "F") else 16 if ";16" in f"{picture.mode} {raw}" else 8


def _orientation(picture: Image) -> Any:
    try:
        return picture.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - a damaged tag turns nothing
        return 1


def _kind(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    if not data:
        return "an empty file"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<error")):
        return "a web page or an XML answer"
    return "no picture"
