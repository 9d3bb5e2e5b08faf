"""Encoded pictures before anybody trusts them: opened, decoded and verified, and the hash by which they look alike.

Only the decoders of JPEG and PNG are ever called, whatever a file's name says, and the size is known before they are.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import jpeg_factory
from PIL.PngImagePlugin import PngImageFile

from aunet_ops.segment_maps import read_rgb

MAX_PIXELS = 89_478_485
"""Pixels of a picture that is decoded, where nothing else is set: a quarter of a gigabyte at three bytes each."""
PICTURE_ENDINGS = (".jpg", ".jpeg", ".png")
"""Of the names of files that are looked for as pictures, whatever their capitals."""
ORIENTATION = 0x0112
"""The EXIF tag that turns a picture; 1 is upright."""
FLAT = 8
"""Grey levels between the darkest and the brightest part, of 72, below which a picture has no hash."""
_TRUNCATION_WORDS = ("truncated", "unexpected end", "end of file")
"""Words of decoders that ran out of bytes."""
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG"
_OTHER_FORMATS = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "PDF",
    b"RIFF": "WebP",
    b"\0\0\0\x0cjP": "JPEG 2000",
}
"""First bytes of files that other programs show as pictures."""
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def open_picture(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image | None, str, str]:
    """The JPEG or PNG, its pixels not yet decoded; or None with the end of a rule's id and a message.

    Args:
        data: the file. JPEGs of several pictures (MPO), as telephones write them, give their first one.
        max_pixels: of a picture that may be decoded.
    """
    excerpt = f"{len(data)} bytes starting with {data[:24]!r}"
    if not data.startswith((_JPEG, _PNG)):
        other = next((name for start, name in _OTHER_FORMATS.items() if data.startswith(start)), "")
        return (None, "format", f"a {other} file") if other else (None, "not-picture", f"{_kind(data)}, {excerpt}")
    try:
        picture: Image.Image = (jpeg_factory if data.startswith(_JPEG) else PngImageFile)(io.BytesIO(data))
    except SyntaxError:
        return None, "truncated", f"cut off in its head, {len(data)} bytes"
    except Exception as error:  # noqa: BLE001 - whatever a decoder stumbles over is a defect of the file
        return None, _blame(error), f"cannot be opened ({error!r:.120}), {excerpt}"
    if picture.width * picture.height > max_pixels:
        size = f"{picture.width}×{picture.height} = {picture.width * picture.height} pixels"
        return None, "bomb", f"{size}, over the limit of {max_pixels}"
    return picture, "", ""


def decoding_failure(picture: Image.Image, data: bytes) -> tuple[str, str] | None:
    """Decode the pixels: None, or the end of a rule's id and what went wrong."""
    try:
        decode(picture, data)
    except Exception as error:  # noqa: BLE001 - whatever a decoder stumbles over is a defect of the file
        return _blame(error), f"{picture.format} of {len(data)} bytes cannot be decoded ({error})"
    return None


def decode(picture: Image.Image, data: bytes) -> None:
    """Decode the pixels; of a PNG, compare every checksum first.

    Raises:
        Exception: whatever Pillow raises for a damaged file.
    """
    if picture.format == "PNG":
        with PngImageFile(io.BytesIO(data)) as again:
            verify_png(again, data)
    picture.load()


def decode_color_jpeg(data: bytes, max_pixels: int, layout: Literal["RGB", "GRAY"] = "RGB") -> NDArray[np.uint8] | None:
    """A JPEG of three channels → uint8[H, W, 3] RGB, the bytes that Pillow gives, in less time; or its luminance alone,
    uint8[H, W, 1]: every coefficient is read all the same, so what is damaged fails in both.

    None: grey, CMYK, damaged, larger than `max_pixels`, or no JPEG at all; Pillow decides what it is.
    """
    if not data.startswith(_JPEG):
        return None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
        if colors != "YCbCr" or int(height) * int(width) > max_pixels:
            return None
        return simplejpeg.decode_jpeg(data, layout)
    except ValueError:
        return None


def look(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image | None:
    """What `difference_hash` needs of a JPEG or PNG of three channels, all of which is decoded and verified, without
    Pillow: a JPEG's luminance, a PNG's pixels.

    None: anything else, or damaged; Pillow decides what it is.
    """
    pixels = decode_color_jpeg(data, max_pixels, "GRAY")
    if pixels is None:
        pixels = read_rgb(data, max_pixels)
    if pixels is None:
        return None
    mode = "L" if pixels.shape[2] == 1 else "RGB"
    return Image.frombuffer(mode, (pixels.shape[1], pixels.shape[0]), pixels, "raw", mode, 0, 1)


def verify_png(picture: Image.Image, data: bytes) -> None:
    """Check the checksum of every chunk, and the end, which decoding alone ignores. `picture` cannot be used after.

    Raises:
        Exception: whatever Pillow raises for a damaged file.
    """
    picture.verify()
    if _PNG_END not in data:
        raise OSError("truncated: the last chunk is not whole")


def bit_depth(picture: Image.Image, data: bytes) -> int:
    """Bits per channel as stored: Pillow silently drops half of those of a 16-bit RGB picture."""
    return data[24] if picture.format == "PNG" else 8


def orientation(picture: Image.Image) -> object:
    """The value of the EXIF tag that turns the picture; 1 where there is none."""
    try:
        return picture.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - a damaged tag turns nothing
        return 1


def difference_hash(picture: Image.Image) -> int | None:
    """64 bits: whether each of 8×8 parts of the grey picture is darker than its right neighbour (dHash).

    It hardly changes when a picture is saved again, scaled or made darker; None for a picture without any contrast.
    """
    if picture.mode.startswith(("I", "F")):
        return None
    grey = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    if int(grey.max() - grey.min()) < FLAT:
        return None
    return int.from_bytes(np.packbits(grey[:, :-1] < grey[:, 1:]).tobytes(), "big")


def _blame(error: Exception) -> str:
    return "truncated" if any(word in str(error).lower() for word in _TRUNCATION_WORDS) else "unreadable"


def _kind(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    if not data:
        return "not a picture: an empty file"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<error")):
        return "not a picture: a web page or an XML answer"
    return "not a picture"
