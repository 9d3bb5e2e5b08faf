"""Segment maps at the speed of memory: the ids in a PNG, where each is, and how many pixels each pair of ids shares.
Needs no torch.

The compiled reader accepts what is beyond doubt: PNGs of 8-bit RGB or RGBA, not interlaced, whole, with every checksum
right. Of anything else it says nothing, and Pillow decides; so the results are the same with and without it. Calls
release the interpreter.
"""

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aunet_ops.build import BUILD_COMMAND, find_library, source_digest
from aunet_ops.status import KernelStatus

_HEADER = slice(20, 24), slice(16, 20)
"""Bytes of a PNG that hold its height and its width."""
_CAPACITY = 1024
"""Pairs of ids for which there is space at the first attempt."""
_BYTES, _POINTER, _SIZE = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64
_FUNCTIONS = {
    "read_ids": [_BYTES, _SIZE, _SIZE, _SIZE, _POINTER],
    "read_rgb": [_BYTES, _SIZE, _SIZE, _SIZE, _POINTER],
    "read_pairs": [_BYTES, _SIZE, _BYTES, _SIZE, _SIZE, _SIZE, _POINTER],
    "count_pairs_32": [_POINTER, _POINTER, _SIZE, _SIZE, _POINTER],
    "count_pairs_64": [_POINTER, _POINTER, _SIZE, _SIZE, _POINTER],
    "read_measures": [_BYTES, _SIZE, _SIZE, _SIZE, _POINTER],
    "measure_32": [_POINTER, _SIZE, _SIZE, _SIZE, _POINTER],
    "measure_64": [_POINTER, _SIZE, _SIZE, _SIZE, _POINTER],
}


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs of ids of two maps, each once, in any order."""

    first: NDArray[np.int64]
    """[n] ids of the first map."""
    second: NDArray[np.int64]
    """[n] ids of the second map."""
    pixels: NDArray[np.int64]
    """[n] pixels that have both."""


@dataclass(frozen=True, slots=True)
class Measures:
    """The ids of a map, each once, in any order."""

    shape: tuple[int, int]
    """[H, W] of the map."""
    ids: NDArray[np.int64]
    """[n]."""
    pixels: NDArray[np.int64]
    """[n] pixels that have the id."""
    boxes: NDArray[np.int64]
    """[n, 4] around them: x1, y1, x2, y2, the ends not included."""


def read_ids(png: bytes, max_pixels: int) -> NDArray[np.int32] | None:
    """The ids R + 256·G + 256²·B of a PNG, int32[H, W]; None where Pillow must read it."""
    return _read("read_ids", png, max_pixels, np.dtype(np.int32), ())


def read_rgb(png: bytes, max_pixels: int) -> NDArray[np.uint8] | None:
    """The pixels of a PNG without alpha, uint8[H, W, 3]; None where Pillow must read it."""
    return _read("read_rgb", png, max_pixels, np.dtype(np.uint8), (3,))


def read_pairs(first: bytes, second: bytes, max_pixels: int) -> Pairs | None:
    """The shared pixels of two maps as PNGs; None where they differ in size, or Pillow must read one of them."""
    library = _library()
    if not isinstance(library, ctypes.CDLL):
        return None
    return _pairs(library.aunet_maps_read_pairs, first, len(first), second, len(second), max_pixels)


def read_measures(png: bytes, max_pixels: int) -> Measures | None:
    """What `measure` says of the ids of a PNG; None where Pillow must read it."""
    library = _library()
    if not isinstance(library, ctypes.CDLL):
        return None
    rows = _table(6, library.aunet_maps_read_measures, png, len(png), max_pixels)
    return None if rows is None else _measures(_shape(png), rows)


def count_pairs(first: NDArray[np.integer], second: NDArray[np.integer]) -> Pairs:
    """The shared pixels of two maps.

    Args:
        first: integer ids of any shape.
        second: as many.
    """
    if first.size != second.size:
        raise ValueError(f"maps must have the same size, got {list(first.shape)} and {list(second.shape)}")
    is_narrow = first.dtype == second.dtype and first.dtype in (np.int32, np.uint32)
    flat = [np.ascontiguousarray(ids if is_narrow else ids.astype(np.int64)).reshape(-1) for ids in (first, second)]
    library = _library()
    if isinstance(library, ctypes.CDLL):
        count = library.aunet_maps_count_pairs_32 if is_narrow else library.aunet_maps_count_pairs_64
        pairs = _pairs(count, flat[0].ctypes.data, flat[1].ctypes.data, flat[0].size)
        if pairs is not None and first.dtype == np.uint32:
            return Pairs(pairs.first & 0xFFFFFFFF, pairs.second & 0xFFFFFFFF, pairs.pixels)
        if pairs is not None:
            return pairs
    return _count_runs(flat[0], flat[1])


def measure(ids: NDArray[np.integer]) -> Measures:
    """How many pixels each id has, and where.

    Args:
        ids: int[H, W].
    """
    height, width = ids.shape
    is_narrow = ids.dtype == np.int32
    plain = np.ascontiguousarray(ids if is_narrow else ids.astype(np.int64))
    library = _library()
    if isinstance(library, ctypes.CDLL):
        function = library.aunet_maps_measure_32 if is_narrow else library.aunet_maps_measure_64
        rows = _table(6, function, plain.ctypes.data, height, width)
        if rows is not None:
            return _measures(ids.shape, rows)
    return _measure_runs(plain)


def reader_status() -> KernelStatus:
    """Whether the compiled reader serves in this process, and why not; ``str()`` of it is one line."""
    library = _library()
    return library if isinstance(library, KernelStatus) else _status(True, "needs no torch", None)


def _status(compiled: bool, detail: str, cure: str | None) -> KernelStatus:
    return KernelStatus(device="maps", compiled=compiled, detail=detail, cure=cure, fallback="Pillow and numpy")


@cache
def _library() -> ctypes.CDLL | KernelStatus:
    """The library, or why there is none."""
    path, record = find_library("maps")
    if path is None:
        return _status(False, "not built", BUILD_COMMAND)
    if record.get("digest") != source_digest("maps"):
        return _status(False, "built from other sources", BUILD_COMMAND)
    try:
        library = ctypes.CDLL(str(path))
        for name, arguments in _FUNCTIONS.items():
            function = getattr(library, f"aunet_maps_{name}")
            function.argtypes, function.restype = arguments, _SIZE
    except (OSError, AttributeError) as error:
        return _status(False, f"cannot be loaded: {str(error).splitlines()[0]}", f"{BUILD_COMMAND} --force")
    return library


def _read(
    name: str, png: bytes, max_pixels: int, dtype: np.dtype[Any], channels: tuple[int, ...]
) -> NDArray[Any] | None:
    library = _library()
    height, width = _shape(png)
    if not isinstance(library, ctypes.CDLL) or not 0 < width * height <= max_pixels:
        return None
    out = np.empty((height, width, *channels), dtype)
    failed = getattr(library, f"aunet_maps_{name}")(png, len(png), width, height, out.ctypes.data)
    return None if failed else out


def _shape(png: bytes) -> tuple[int, int]:
    """[H, W] of a PNG, by its header."""
    height, width = (int.from_bytes(png[span], "big") for span in _HEADER)
    return height, width


def _measures(shape: tuple[int, int], rows: NDArray[np.int64]) -> Measures:
    return Measures(shape, rows[0], rows[1], rows[2:].T)


def _pairs(function: Any, *arguments: Any) -> Pairs | None:
    rows = _table(3, function, *arguments)
    return None if rows is None else Pairs(*rows)


def _table(num_rows: int, function: Any, *arguments: Any) -> NDArray[np.int64] | None:
    """Call a function that writes a table, again with enough space where it has more columns than usual."""
    capacity, count = 0, _CAPACITY
    out = np.empty((num_rows, 0), np.int64)
    while count > capacity:
        capacity = count
        out = np.empty((num_rows, capacity), np.int64)
        count = function(*arguments, capacity, out.ctypes.data)
    return out[:, :count] if count >= 0 else None


def _count_runs(first: NDArray[Any], second: NDArray[Any]) -> Pairs:
    """In numpy, by runs of equal pairs, which are some hundred times fewer than pixels."""
    is_start = np.ones(first.size, dtype=bool)
    is_start[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    starts = np.flatnonzero(is_start)
    lengths = np.diff(starts, append=first.size)
    ids = np.stack([first[starts], second[starts]]).astype(np.int64)
    order = np.lexsort(ids)
    ids, lengths = ids[:, order], lengths[order]
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = (ids[:, 1:] != ids[:, :-1]).any(0)
    begins = np.flatnonzero(is_new)
    pixels = np.add.reduceat(lengths, begins) if begins.size else np.zeros(0, np.int64)
    return Pairs(ids[0, begins], ids[1, begins], pixels)


def _measure_runs(ids: NDArray[Any]) -> Measures:
    """In numpy, by runs of equal ids."""
    width = ids.shape[1]
    flat = ids.reshape(-1)
    is_start = np.ones(flat.size, dtype=bool)
    np.not_equal(flat[1:], flat[:-1], out=is_start[1:])
    is_start[::width] = True
    starts = np.flatnonzero(is_start)
    ends = np.append(starts[1:], flat.size)
    order = np.argsort(flat[starts], kind="stable")
    starts, ends = starts[order], ends[order]
    distinct, first = np.unique(flat[starts], return_index=True)
    pixels = np.add.reduceat(ends - starts, first)
    x1, x2 = np.minimum.reduceat(starts % width, first), np.maximum.reduceat((ends - 1) % width, first) + 1
    y1, y2 = np.minimum.reduceat(starts // width, first), np.maximum.reduceat(starts // width, first) + 1
    return _measures(ids.shape, np.stack([distinct, pixels, x1, y1, x2, y2]).astype(np.int64))
