"""The pictures of the COCO panoptic format: images, and PNGs whose colours are segment ids."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aunet.data.pictures import MAX_PIXELS, decode, decode_color_jpeg, open_picture
from aunet.errors import InputError
from aunet.segments import Box
from aunet_ops.segment_maps import Measures, measure, read_ids, read_rgb

MAX_SEGMENT_ID = 256**3 - 1
"""The largest id that a colour can hold; 0 is void."""
_CURES = {
    "format": "convert it to JPEG or PNG",
    "not-picture": "fetch the file again",
    "bomb": "make the picture smaller, or raise max_pixels where there is the memory for it",
}


def ids_from_rgb(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """uint8[H, W, 3] → int32[H, W]: id = R + 256·G + 256²·B."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"rgb must be uint8[H, W, 3], got {rgb.dtype}{list(rgb.shape)}")
    ids = rgb[..., 2].astype(np.int32)
    for channel in (1, 0):
        ids <<= 8
        ids |= rgb[..., channel]
    return ids


def rgb_from_ids(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """int[H, W] of ids in 0 … 256³-1 → uint8[H, W, 3], the inverse of `ids_from_rgb`."""
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) <= MAX_SEGMENT_ID:
        raise ValueError(f"ids must be in 0 … {MAX_SEGMENT_ID}, got {int(ids.min())} … {int(ids.max())}")
    little_endian = np.ascontiguousarray(ids, dtype="<u4")
    return np.ascontiguousarray(little_endian.view(np.uint8).reshape(*ids.shape, 4)[..., :3])


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """JPEG or PNG → uint8[H, W, 3] RGB; grey becomes RGB. Orientation tags are not applied, as in COCO.

    Raises:
        InputError: not a JPEG or PNG, cut short, of more than `max_pixels` pixels, or too deep for 8 bits per channel;
            the message says which.
    """
    rgb = decode_color_jpeg(data, max_pixels)
    if rgb is None:
        rgb = read_rgb(data, max_pixels)
    if rgb is not None:
        return rgb
    picture = load_picture(data, max_pixels)
    if picture.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
        raise InputError(f"a picture of mode {picture.mode!r}: convert it to 8-bit RGB")
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def decode_panoptic(data: bytes) -> NDArray[np.int32]:
    """Panoptic PNG → int32[H, W] of segment ids, 0 where void.

    Raises:
        InputError: not a PNG with three 8-bit channels, or cut short; the message says which.
    """
    ids = read_ids(data, MAX_PIXELS)
    if ids is not None:
        return ids
    picture = load_picture(data)
    if picture.format != "PNG" or picture.mode not in ("RGB", "RGBA"):
        raise InputError(
            f"a {picture.format} of mode {picture.mode!r}: a panoptic map must be an 8-bit RGB PNG, "
            "id = R + 256·G + 256²·B; write it again"
        )
    if picture.mode == "RGBA":
        picture = picture.convert("RGB")
    words = np.frombuffer(picture.tobytes("raw", "RGBX"), dtype="<u4")
    return (words & MAX_SEGMENT_ID).view(np.int32).reshape(picture.height, picture.width)


def encode_panoptic(ids: NDArray[np.integer]) -> bytes:
    """int[H, W] of segment ids → the bytes of an RGB PNG; `decode_panoptic` reads them back."""
    buffer = io.BytesIO()
    Image.fromarray(rgb_from_ids(ids)).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def measure_segments(ids: NDArray[np.integer]) -> dict[int, tuple[int, Box]]:
    """Count the pixels: id → (area, box around them), void left out, in the order of the ids.

    Args:
        ids: int[H, W], 0 is void.
    """
    return segments_of(measure(ids))


def segments_of(measures: Measures) -> dict[int, tuple[int, Box]]:
    """What `measure_segments` gives for a map that is measured already."""
    rows = zip(measures.ids.tolist(), measures.pixels.tolist(), measures.boxes.tolist(), strict=True)
    return {i: (area, (x1, y1, x2 - x1, y2 - y1)) for i, area, (x1, y1, x2, y2) in sorted(rows) if i}


def swapped_channels(ids: Iterable[int]) -> set[int]:
    """The ids of a map whose channels 0 and 2 are swapped, as programs write it that take colours for BGR."""
    return {(i >> 16 & 255) | (i & 0xFF00) | (i & 255) << 16 for i in ids}


def load_picture(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """JPEG or PNG → the decoded picture, whatever its mode.

    Raises:
        InputError: something else, cut short, with a wrong checksum, or more than `max_pixels` pixels, which are not
            decoded; the message says which.
    """
    picture, rule, message = open_picture(data, max_pixels)
    if picture is None and rule in ("truncated", "unreadable"):
        raise InputError(f"cannot be decoded ({message}); fetch the file again")
    if picture is None:
        raise InputError(f"{message}; {_CURES[rule]}")
    try:
        decode(picture, data)
    except Exception as error:  # noqa: BLE001 - whatever a decoder stumbles over is a defect of the file
        raise InputError(f"cannot be decoded ({error}, {len(data)} bytes); fetch the file again") from None
    return picture
