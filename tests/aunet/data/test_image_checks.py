"""The files of one image, as preprocessing hands them over."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aunet.data.coco_json import ImageRecord
from aunet.data.coco_panoptic import encode_panoptic
from aunet.data.image_checks import check_image
from aunet.data.pictures import ORIENTATION
from aunet.segments import Segment
from tests.pipelines.lint_plants import deep_rgb


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def record(*segments: Segment, height: int = 2, width: int = 3) -> ImageRecord:
    return ImageRecord(
        image_id=7, file_name="a.jpg", height=height, width=width, panoptic_name="a.png", segments=segments
    )


IDS = np.array([[5, 5, 0], [5, 300, 300]], np.int32)
GOOD = (
    Segment(5, 1, True, 3, bbox=(0, 0, 2, 2)),
    Segment(300, 2, False, 2, bbox=(1, 1, 2, 1)),
)
PICTURE = Image.new("RGB", (3, 2), (9, 99, 199))


def rules(*segments: Segment, image: bytes | OSError, panoptic: bytes | OSError) -> list[str]:
    return [d.rule for d in check_image(record(*segments), image, panoptic).defects]


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "YCbCr"])
def test_what_every_reader_gets_right(mode: str) -> None:
    image = encoded(PICTURE.convert(mode), "JPEG" if mode == "YCbCr" else "PNG")
    check = check_image(record(*GOOD), image, encode_panoptic(IDS))
    assert check.defects == []
    assert check.measured == {5: (3, (0, 0, 2, 2)), 300: (2, (1, 1, 2, 1))}


def test_all_that_is_wrong_is_reported_at_once() -> None:
    segments = (
        Segment(5, 1, True, 4, bbox=(0, 0, 3, 2)),
        Segment(6, 1, True, 1),
    )
    check = check_image(record(*segments), encoded(Image.new("CMYK", (4, 4)), "JPEG"), encode_panoptic(IDS))
    assert [(d.rule, d.segment) for d in check.defects] == [
        ("image-cmyk", None),
        ("segment-not-in-json", 300),
        ("area-wrong", 5),
        ("bbox-wrong", 5),
        ("segment-not-in-map", 6),
        ("size-mismatch", None),
    ]
    assert check.defects[-1].message == "a.jpg: JSON 3×2, image 4×4, map 3×2"


def test_a_map_of_another_size_is_not_measured() -> None:
    assert rules(*GOOD, image=encoded(PICTURE), panoptic=encode_panoptic(IDS.repeat(2, 0))) == ["size-mismatch"]


@pytest.mark.parametrize(("error", "end"), [(FileNotFoundError("missing"), "missing"), (OSError("5"), "unreadable")])
def test_files_that_cannot_be_read(error: OSError, end: str) -> None:
    assert rules(*GOOD, image=error, panoptic=error) == [f"image-{end}", f"map-{end}"]


@pytest.mark.parametrize("tag", [0, 1, 2, 8, 9, 300])
def test_only_a_tag_that_turns_the_picture_is_wrong(tag: int) -> None:
    """Some cameras write 0; readers take what is not in the standard for upright."""
    exif = Image.Exif()
    exif[ORIENTATION] = tag
    broken = rules(*GOOD, image=encoded(PICTURE, "JPEG", exif=exif), panoptic=encode_panoptic(IDS))
    assert broken == ["image-rotated"] * (tag in (2, 8))


def test_more_than_eight_bits() -> None:
    image = encoded(Image.new("I;16", (3, 2)), "PNG")
    assert rules(*GOOD, image=image, panoptic=encode_panoptic(IDS)) == ["image-16-bit"]
    assert rules(*GOOD, image=deep_rgb(3, 2), panoptic=deep_rgb(3, 2)) == ["image-16-bit", "map-mode"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_cut_is_found(kind: str) -> None:
    """A file without its last bytes, be it one."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8))
    encoded_picture = encoded(picture, kind)
    for length in range(len(encoded_picture)):
        broken = rules(image=encoded_picture[:length], panoptic=FileNotFoundError())
        assert len(broken) == 2 and broken[0] in ("image-truncated", "image-unreadable", "image-not-picture"), length


def test_every_flipped_bit_of_a_map_is_found() -> None:
    """Chunk checksums see what decoding may not."""
    sound = encode_panoptic(IDS)
    for bit in range(8 * len(sound)):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        assert rules(*GOOD, image=encoded(PICTURE), panoptic=bytes(damaged)), f"bit {bit}"
