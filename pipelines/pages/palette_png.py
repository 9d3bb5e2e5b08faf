"""Pictures of at most 256 colours as PNGs whose indices a script can read: one file to look at and to ask."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

Colors = NDArray[np.uint8]
"""uint8[n, 4] of red, green, blue and opacity, n ≤ 256."""


def palette_png(indices: NDArray[np.uint8], colors: Colors) -> bytes:
    """A PNG of 8 bits per pixel with a palette. Every row is filtered "up", which maps of segments pack best with.

    Args:
        indices: uint8[H, W] into `colors`.
        colors: uint8[n, 4], n > every index.
    """
    height, width = indices.shape
    rows = np.full((height, width + 1), 2, np.uint8)
    rows[0, 1:], rows[1:, 1:] = indices[0], indices[1:] - indices[:-1]
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", colors[:, :3].tobytes()),
        (b"tRNS", colors[:, 3].tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
