"""Pictures that look alike have near hashes, others have not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from aunet.data.coco_panoptic import decode_image
from aunet.data.leakage import NEAR
from aunet.data.pictures import MAX_PIXELS, ORIENTATION, decode_color_jpeg, difference_hash, look, open_picture
from aunet.data.shapes import make_scene
from aunet.errors import InputError


def scene(index: int) -> Image.Image:
    return Image.fromarray(make_scene(0, "train", index, 96, 128).image)


def saved(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def test_hash_by_hand() -> None:
    """Columns that grow brighter to the right are ones, those that grow darker zeros."""
    ramp = np.tile(np.arange(9, dtype=np.uint8) * 20, (8, 1))
    assert difference_hash(Image.fromarray(ramp)) == 2**64 - 1
    assert difference_hash(Image.fromarray(ramp[:, ::-1])) == 0
    assert difference_hash(Image.new("RGB", (50, 50), (7, 7, 7))) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda p: saved(p, 30),
        lambda p: p.resize((64, 48)),
        lambda p: p.resize((200, 150)),
        lambda p: ImageEnhance.Brightness(p).enhance(0.8),
        lambda p: p.convert("L"),
    ],
    ids=["saved again", "halved", "enlarged", "darker", "grey"],
)
def test_the_same_picture_is_near_and_others_are_far(change: Callable[[Image.Image], Image.Image]) -> None:
    pictures = [scene(n) for n in range(6)]
    own, other = ([difference_hash(p) for p in row] for row in (pictures, map(change, pictures)))
    near = [[(a ^ b).bit_count() <= NEAR for b in other if b is not None] for a in own if a is not None]
    assert np.array_equal(near, np.eye(6, dtype=bool))


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_telephones_jpeg_of_several_pictures_is_a_jpeg() -> None:
    """Pillow calls it MPO."""
    data = encoded(scene(0), "MPO", save_all=True, append_images=[scene(1)], quality=95)
    picture, rule, _ = open_picture(data)
    assert picture is not None and (picture.format, rule) == ("MPO", "")
    assert np.array_equal(decode_image(data), decode_image(encoded(scene(0), "JPEG", quality=95)))


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "BMP", "WEBP", "PDF", "EPS", "JPEG2000"])
def test_other_formats_are_named_and_never_decoded(kind: str) -> None:
    """EPS would start Ghostscript."""
    data = encoded(scene(0), kind)
    picture, rule, message = open_picture(data)
    assert (picture, rule) == (None, "format") and message.startswith("a ")
    with pytest.raises(InputError, match="convert it to JPEG or PNG"):
        decode_image(data)


@pytest.mark.parametrize(
    ("data", "rule"), [(b"", "not-picture"), (b"<html>", "not-picture"), (b"\xff\xd8\xff", "truncated")]
)
def test_what_is_no_picture(data: bytes, rule: str) -> None:
    assert open_picture(data)[:2] == (None, rule)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pixels_are_counted_before_they_are_decoded(kind: str) -> None:
    data = encoded(Image.new("L", (300, 200)), kind)
    assert open_picture(data, 60_000)[0] is not None
    assert open_picture(data, 59_999) == (None, "bomb", "300×200 = 60000 pixels, over the limit of 59999")
    with pytest.raises(InputError, match="make the picture smaller, or raise max_pixels"):
        decode_image(data, 59_999)


def test_the_limit_is_that_of_the_library_and_may_be_passed_without_it_interfering() -> None:
    assert MAX_PIXELS == Image.MAX_IMAGE_PIXELS
    data = encoded(Image.new("1", (14_000, 14_000)), "PNG")  # Pillow refuses twice its limit
    picture, _, _ = open_picture(data, 14_000**2)
    assert picture is not None and picture.size == (14_000, 14_000)


def by_pillow(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (16, 16), (33, 47), (128, 96)])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True, "quality": 12}])
def test_a_color_jpeg_has_pillows_bytes(size: tuple[int, int], subsampling: str, options: dict[str, Any]) -> None:
    data = encoded(scene(2).resize(size), "JPEG", subsampling=subsampling, **options)
    decoded = decode_color_jpeg(data, MAX_PIXELS)
    assert decoded is not None and np.array_equal(decoded, by_pillow(data))
    assert np.array_equal(decode_image(data), by_pillow(data))


def test_real_jpegs_have_pillows_bytes(sample_data: Path) -> None:
    files = sorted(sample_data.glob("*/*/*.jpg"))[::8]
    assert len(files) > 5
    for path in files:
        assert np.array_equal(decode_image(path.read_bytes()), by_pillow(path.read_bytes())), path.name


def test_a_picture_looks_as_its_luminance_does(sample_data: Path) -> None:
    files = sorted(sample_data.glob("*/*/*.jpg"))[::8]
    scenes = [encoded(scene(n), kind) for n in range(6) for kind in ("JPEG", "PNG")]
    far = 0
    for data in (*scenes, *(path.read_bytes() for path in files)):
        seen, picture = look(data), Image.open(io.BytesIO(data))
        assert seen is not None and seen.size == picture.size
        assert seen.mode == ("L" if picture.format == "JPEG" else "RGB")
        own, other = difference_hash(seen), difference_hash(picture)
        assert own is not None and other is not None and (own ^ other).bit_count() <= 2
        far += own != other
    assert len(files) > 20 and far < len(files) / 10
    assert look(encoded(scene(0).convert("L"), "JPEG")) is None and look(b"") is None


def test_unusual_jpegs_are_read_as_before() -> None:
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    unusual = {
        "grey": encoded(scene(0).convert("L"), "JPEG"),
        "CMYK": encoded(scene(0).convert("CMYK"), "JPEG"),
        "RGB": encoded(scene(0), "JPEG", keep_rgb=True),
        "turned": encoded(scene(0), "JPEG", exif=turned),
    }
    for name, data in unusual.items():
        assert np.array_equal(decode_image(data), by_pillow(data)), name
        assert (decode_color_jpeg(data, MAX_PIXELS) is None) == (name != "turned"), name


def test_damaged_jpegs_are_refused_in_pillows_words_or_have_its_bytes() -> None:
    """What the fast decoder refuses goes to Pillow; what it accepts is what Pillow makes of it."""
    rng = np.random.default_rng(0)
    intact, accepted = encoded(scene(3), "JPEG"), 0
    for length in (3, 20, 400, len(intact) // 2, len(intact) - 20):
        assert decode_color_jpeg(intact[:length], MAX_PIXELS) is None
        with pytest.raises(InputError, match="cannot be decoded"):
            decode_image(intact[:length])
    for _ in range(300):
        data = bytearray(intact)
        data[int(rng.integers(2, len(data)))] = int(rng.integers(256))
        decoded = decode_color_jpeg(bytes(data), MAX_PIXELS)
        assert (decode_color_jpeg(bytes(data), MAX_PIXELS, "GRAY") is None) == (decoded is None)
        if decoded is None:
            continue
        accepted += 1
        assert np.array_equal(decoded, by_pillow(bytes(data)))
    assert accepted > 30


def test_a_png_with_a_wrong_checksum_is_refused() -> None:
    data = bytearray(encoded(scene(0), "PNG"))
    data[data.index(b"IDAT") + 30] ^= 1
    with pytest.raises(InputError, match=r"cannot be decoded \(.*, \d+ bytes\); fetch the file again"):
        decode_image(bytes(data))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_pngs_of_every_mode_have_pillows_pixels(mode: str) -> None:
    data = encoded(scene(1).convert(mode), "PNG")
    assert np.array_equal(decode_image(data), by_pillow(data))
