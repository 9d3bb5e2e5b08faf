"""PNGs written as no common program writes them: any filter in any row, any compression, any cut of the stream."""

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def filtered(pixels: np.ndarray, filters: list[int]) -> bytes:
    """uint8[H, W, C] → the bytes that are compressed, row y by filters[y]; the formulas of the standard."""
    height, width, channels = pixels.shape
    above = np.zeros((width + 1, channels), np.int32)
    out = []
    for y in range(height):
        row = np.zeros((width + 1, channels), np.int32)
        row[1:] = pixels[y]
        left, up, corner = row[:-1], above[1:], above[:-1]
        estimate = left + up - corner
        far = [abs(estimate - near) for near in (left, up, corner)]
        paeth = np.where((far[0] <= far[1]) & (far[0] <= far[2]), left, np.where(far[1] <= far[2], up, corner))
        predicted = [np.zeros_like(left), left, up, (left + up) // 2, paeth][filters[y] if filters[y] < 5 else 0]
        out.append(bytes([filters[y]]) + ((row[1:] - predicted) % 256).astype(np.uint8).tobytes())
        above = row
    return b"".join(out)


def png(
    pixels: np.ndarray,
    filters: list[int] | None = None,
    *,
    level: int = 6,
    strategy: int = zlib.Z_DEFAULT_STRATEGY,
    cuts: int = 1,
    extra: bytes = b"",
    header: dict[str, int] | None = None,
) -> bytes:
    """uint8[H, W, 3 or 4] → PNG in `cuts` IDAT chunks; `header` replaces width, height, depth, color or interlace."""
    height, width, channels = pixels.shape
    raw = filtered(pixels, filters or [y % 5 for y in range(height)])
    compressor = zlib.compressobj(level, zlib.DEFLATED, 15, 9, strategy)
    stream = compressor.compress(raw) + compressor.flush()
    given = dict(width=width, height=height, depth=8, color=2 if channels == 3 else 6, interlace=0) | (header or {})
    head = struct.pack(
        ">IIBBBBB", given["width"], given["height"], given["depth"], given["color"], 0, 0, given["interlace"]
    )
    step = -(-len(stream) // cuts)
    data = b"".join(chunk(b"IDAT", stream[i : i + step]) for i in range(0, len(stream), step))
    return SIGNATURE + chunk(b"IHDR", head) + extra + data + chunk(b"IEND", b"")


def segment_map(rng: np.random.Generator, height: int, width: int, channels: int = 3) -> np.ndarray:
    """uint8[H, W, C] of a few colours in blocks, with some noise."""
    colors = rng.integers(0, 256, (int(rng.integers(1, 8)), channels), dtype=np.uint8)
    side = int(rng.integers(1, 9))
    coarse = rng.integers(0, len(colors), (-(-height // side), -(-width // side)))
    label = coarse.repeat(side, 0).repeat(side, 1)[:height, :width]
    pixels = colors[label]
    noisy = rng.random((height, width)) < rng.choice([0, 0.02, 0.5, 1.0])
    pixels[noisy] = rng.integers(0, 256, (int(noisy.sum()), channels))
    return pixels
