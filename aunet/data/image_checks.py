"""The two files of an image, checked byte by byte: what no reader, or not every reader, would get right."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from PIL import Image

from aunet.data.coco_json import ImageRecord
from aunet.data.coco_panoptic import decode_panoptic, segments_of, swapped_channels
from aunet.data.defects import Defect
from aunet.data.pictures import (
    MAX_PIXELS,
    bit_depth,
    decoding_failure,
    difference_hash,
    look,
    open_picture,
    orientation,
    verify_png,
)
from aunet.segments import NOT_GIVEN, Box
from aunet_ops.segment_maps import Measures, measure, read_measures

BrokenRules = list[tuple[str, str]]
"""Rule ids and messages."""
Size = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(kw_only=True)
class ImageCheck:
    """What the files of one image showed."""

    record: ImageRecord
    defects: list[Defect] = field(default_factory=list)
    measured: dict[int, tuple[int, Box]] = field(default_factory=dict)
    """Segment id → (area, bbox) as counted from the map."""
    sha256: bytes = b""
    """Of the image file; empty where there is none."""
    difference_hash: int | None = None
    """Of the image; None where there is none."""

    def report(self, rule: str, message: str, segment: int | None = None) -> None:
        """Note a defect of this image."""
        self.defects.append(Defect(rule=rule, image=self.record.image_id, segment=segment, message=message))


def check_image(record: ImageRecord, image: bytes | OSError, panoptic: bytes | OSError) -> ImageCheck:
    """Check the files of one image against the rules.

    Args:
        record: what the JSON says of it; files without a name are left out.
        image: the image file, or why it could not be read.
        panoptic: the panoptic PNG, likewise.
    """
    check = ImageCheck(record=record)
    sizes: dict[str, Size] = {"JSON": (record.width, record.height)} if record.width * record.height else {}
    if record.file_name:
        broken, picture = _check_picture(image)
        _report_all(check, record.file_name, broken)
        if isinstance(image, bytes):
            check.sha256 = hashlib.sha256(image).digest()
        if picture is not None:
            sizes["image"] = picture.size
            check.difference_hash = difference_hash(picture)
    if record.panoptic_name:
        broken, size, measures = _check_map(panoptic)
        _report_all(check, record.panoptic_name, broken)
        if size is not None:
            sizes["map"] = size
        if measures is not None:
            check.measured = segments_of(measures)
            _check_segments(check, with_measures=sizes.get("JSON", size) == size)
    if len(set(sizes.values())) > 1:
        message = ", ".join(f"{kind} {width}×{height}" for kind, (width, height) in sizes.items())
        _report_all(check, record.file_name, [("size-mismatch", message)])
    return check


def _report_all(check: ImageCheck, file_name: str, broken: BrokenRules) -> None:
    for rule, message in broken:
        check.report(rule, f"{file_name}: {message}" if file_name else message)


def _check_picture(data: bytes | OSError) -> tuple[BrokenRules, Image.Image | None]:
    """What is wrong with an image file, and the picture where it can be decoded."""
    if isinstance(data, OSError):
        return [("image-missing" if isinstance(data, FileNotFoundError) else "image-unreadable", str(data))], None
    picture, rule, message = open_picture(data)
    if picture is None:
        return [(f"image-{rule}", message)], None
    broken: BrokenRules = []
    if (depth := bit_depth(picture, data)) > 8:
        broken.append(("image-16-bit", f"{picture.format} of mode {picture.mode}, {depth} bits"))
    if picture.mode == "CMYK":
        broken.append(("image-cmyk", f"{picture.format} of mode CMYK"))
    looks = look(data)
    if looks is None and (failure := decoding_failure(picture, data)):
        rule, message = failure
        return [(f"image-{rule}", message), *broken], None
    if (turned := orientation(picture)) in range(2, 9):
        broken.append(("image-rotated", f"EXIF orientation {turned}"))
    return broken, looks or picture


def _check_map(data: bytes | OSError) -> tuple[BrokenRules, Size | None, Measures | None]:
    """What is wrong with a panoptic PNG, its size, and the measures of its ids where they can be decoded."""
    if isinstance(data, OSError):
        rule = "map-missing" if isinstance(data, FileNotFoundError) else "map-unreadable"
        return [(rule, str(data))], None, None
    if measures := read_measures(data, MAX_PIXELS):
        height, width = measures.shape
        return [], (width, height), measures
    picture, _, message = open_picture(data)
    if picture is None:
        return [("map-unreadable", message)], None, None
    depth = bit_depth(picture, data)
    if picture.format != "PNG" or picture.mode not in ("RGB", "RGBA") or depth > 8:
        message = f"{picture.format} of mode {picture.mode}, {depth} bits per channel"
        return [("map-mode", message)], picture.size, None
    try:
        verify_png(picture, data)
        return [], picture.size, measure(decode_panoptic(data))
    except Exception as error:  # noqa: BLE001 - whatever a decoder stumbles over is a defect of the file
        return [("map-unreadable", f"PNG of {len(data)} bytes cannot be decoded ({error})")], None, None


def _check_segments(check: ImageCheck, *, with_measures: bool) -> None:
    """The map against the segments of the JSON, both ways."""
    where = f"{check.record.panoptic_name}: "
    if not check.measured:
        check.report("map-void", f"{where}no pixel has an id")
    listed = {s.id: s for s in check.record.segments}
    if check.measured.keys() != listed.keys() == swapped_channels(check.measured):
        check.report("map-bgr", f"{where}its ids are those of the segments once channels 0 and 2 are swapped")
        return
    for segment_id in sorted(set(check.measured) - set(listed)):
        area, bbox = check.measured[segment_id]
        message = f"{where}id {segment_id} has {area} pixels in {list(bbox)}, but no segment"
        check.report("segment-not-in-json", message, segment_id)
    for segment_id, segment in listed.items():
        if segment_id not in check.measured:
            rule = "segment-empty" if segment.area == 0 else "segment-not-in-map"
            claimed = "" if segment.area == NOT_GIVEN else f", area {segment.area} by the JSON,"
            check.report(rule, f"{where}segment {segment_id}{claimed} has no pixel", segment_id)
        elif with_measures:
            area, bbox = check.measured[segment_id]
            if segment.area not in (area, NOT_GIVEN):
                message = f"{where}segment {segment_id} has area {segment.area}, the map {area}"
                check.report("area-wrong", message, segment_id)
            if segment.bbox != bbox and segment.bbox[0] != NOT_GIVEN:
                message = f"{where}segment {segment_id} has bbox {list(segment.bbox)}, the map {list(bbox)}"
                check.report("bbox-wrong", message, segment_id)
