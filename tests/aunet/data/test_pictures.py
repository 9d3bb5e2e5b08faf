"""Pictures that look alike have near hashes, others have not."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from aunet.data.coco_panoptic import decode_image
from aunet.data.pictures import MAX_PIXELS, difference_hash, open_picture
from aunet.data.shapes import make_scene
from aunet.errors import InputError
from pipelines.lint.leakage import NEAR


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
