"""The reader of segment maps beside Pillow and numpy: equal on whatever it accepts, silent on whatever is damaged."""

import io
import resource
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from aunet_ops import segment_maps
from aunet_ops.build import BUILD_COMMAND
from aunet_ops.segment_maps import count_pairs, measure, read_ids, read_measures, read_pairs, read_rgb, reader_status
from tests.ops.png_files import chunk, png, segment_map

LIMIT = 10**6
needs_library = pytest.mark.skipif(not reader_status().compiled, reason=str(reader_status()))


def ids_of(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., :3].astype(np.int32) @ np.array([1, 256, 65536], np.int32)


def pillow(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def table(pairs: segment_maps.Pairs) -> dict[tuple[int, int], int]:
    columns = (pairs.first.tolist(), pairs.second.tolist(), pairs.pixels.tolist())
    counted = {(a, b): n for a, b, n in zip(*columns, strict=True)}
    assert len(counted) == len(pairs.pixels), "each pair once"
    return counted


def table_of(first: np.ndarray, second: np.ndarray) -> dict[tuple[int, int], int]:
    both = np.stack([first.reshape(-1), second.reshape(-1)], 1).astype(np.int64)
    keys, counts = np.unique(both, axis=0, return_counts=True)
    return {(int(a), int(b)): int(n) for (a, b), n in zip(keys, counts, strict=True)}


@needs_library
@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 40),
    width=st.integers(1, 60),
    channels=st.sampled_from([3, 4]),
    level=st.integers(0, 9),
    strategy=st.sampled_from([zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FILTERED]),
    cuts=st.integers(1, 5),
)
def test_ids_and_pixels_are_those_of_pillow(
    seed: int, height: int, width: int, channels: int, level: int, strategy: int, cuts: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels = segment_map(rng, height, width, channels)
    data = png(pixels, rng.integers(0, 5, height).tolist(), level=level, strategy=strategy, cuts=cuts)
    assert np.array_equal(pillow(data), pixels[..., :3]), "the writer of this test is right"
    ids, rgb = read_ids(data, LIMIT), read_rgb(data, LIMIT)
    assert ids is not None and ids.dtype == np.int32 and np.array_equal(ids, ids_of(pixels))
    assert rgb is not None and np.array_equal(rgb, pixels[..., :3])
    measures = read_measures(data, LIMIT)
    assert measures is not None and measures.shape == (height, width)
    assert measured(measures) == measures_of(ids)


@needs_library
@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 40), width=st.integers(1, 60))
def test_shared_pixels_are_those_of_numpy(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = [segment_map(rng, height, width, 3 + n) for n in (0, 1)]
    ids = [ids_of(p) for p in pixels]
    expected = table_of(*ids)
    read = read_pairs(png(pixels[0]), png(pixels[1]), LIMIT)
    assert read is not None and table(read) == expected
    for dtype in (np.int32, np.uint32, np.int64, np.uint8):
        cast = [i.astype(dtype) for i in ids]
        assert table(count_pairs(*cast)) == table_of(*cast)
    assert table(segment_maps._count_runs(ids[0].reshape(-1), ids[1].reshape(-1))) == expected


def measures_of(ids: np.ndarray) -> dict[int, tuple[int, list[int]]]:
    expected = {}
    for i in np.unique(ids).tolist():
        y, x = np.nonzero(ids == i)
        expected[i] = len(x), [x.min(), y.min(), x.max() + 1, y.max() + 1]
    return expected


def measured(measures: segment_maps.Measures) -> dict[int, tuple[int, list[int]]]:
    rows = zip(measures.ids.tolist(), measures.pixels.tolist(), measures.boxes.tolist(), strict=True)
    by_id = {i: (pixels, box) for i, pixels, box in rows}
    assert len(by_id) == len(measures.ids), "each id once"
    return by_id


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 40), width=st.integers(1, 60))
def test_pixels_and_boxes_of_ids_are_those_of_numpy(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    ids = ids_of(segment_map(rng, height, width, 3))
    if seed % 2:
        ids = np.repeat(np.repeat(ids[: height // 4 + 1], 4, 0), 2, 1)[:, ::2]  # rows like the one above; a view
    for dtype in (np.int32, np.int64, np.uint8):
        cast = ids.astype(dtype)
        assert measured(measure(cast)) == measures_of(cast)
    assert measured(segment_maps._measure_runs(np.ascontiguousarray(ids))) == measures_of(ids)


def test_a_map_of_more_ids_than_usual() -> None:
    ids = np.arange(5000, dtype=np.int64).reshape(50, 100) * 2**50 - 7
    assert measured(measure(ids)) == measures_of(ids) and len(measured(measure(ids))) == 5000


def test_more_pairs_than_usual_and_ids_of_any_size() -> None:
    first = np.arange(5000, dtype=np.int64).reshape(50, 100) * 2**50 - 7
    second = np.arange(5000, dtype=np.int64)[::-1].reshape(50, 100)
    assert table(count_pairs(first, second)) == table_of(first, second)
    top = np.array([2**32 - 1, 0], np.uint32)
    assert table(count_pairs(top, top)) == {(2**32 - 1, 2**32 - 1): 1, (0, 0): 1}
    assert table(count_pairs(np.array([-1], np.int32), np.array([3], np.int32))) == {(-1, 3): 1}
    assert table(count_pairs(np.zeros((0, 4), np.int32), np.zeros((0, 4), np.int32))) == {}
    with pytest.raises(ValueError, match=r"same size, got \[2\] and \[1, 1\]"):
        count_pairs(top, np.zeros((1, 1), np.int32))


@needs_library
def test_a_pair_of_many_ids(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    read = read_pairs(png(noise), png(noise[::-1].copy()), LIMIT)
    assert read is not None and table(read) == table_of(ids_of(noise), ids_of(noise[::-1]))


PIXELS = segment_map(np.random.default_rng(5), 20, 30)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture",
        png(PIXELS)[:8],
        png(PIXELS)[:40],
        png(PIXELS)[:-1],
        png(PIXELS)[:-12],
        png(PIXELS, header={"depth": 16}),
        png(PIXELS, header={"color": 3}),
        png(PIXELS, header={"color": 0}),
        png(PIXELS, header={"interlace": 1}),
        png(PIXELS, header={"width": 31}),
        png(PIXELS, header={"height": 19}),
        png(PIXELS, header={"height": 0}),
        png(PIXELS, header={"width": 2**32 - 1, "height": 2**32 - 1}),
        png(PIXELS, header={"width": 1000, "height": 1000}),
        png(PIXELS, [0] * 19 + [5]),
        png(PIXELS, extra=chunk(b"acTL", b"\0" * 8)),
        png(PIXELS, extra=chunk(b"gAMA", b"\0")),
        png(PIXELS, extra=chunk(b"XXXX", b"")),
    ],
)
def test_what_is_unusual_or_damaged_is_left_to_pillow(data: bytes) -> None:
    assert read_ids(data, LIMIT) is None and read_rgb(data, LIMIT) is None and read_measures(data, LIMIT) is None
    assert read_pairs(data, data, LIMIT) is None and read_pairs(png(PIXELS), data, LIMIT) is None


@needs_library
def test_too_many_pixels_and_other_sizes_are_left_to_pillow() -> None:
    data = png(PIXELS)
    assert read_ids(data, PIXELS[..., 0].size) is not None and read_ids(data, PIXELS[..., 0].size - 1) is None
    assert read_pairs(data, data, PIXELS[..., 0].size - 1) is None
    assert read_measures(data, PIXELS[..., 0].size - 1) is None
    assert read_pairs(data, png(PIXELS[:, :-1]), LIMIT) is None
    text = png(PIXELS, extra=chunk(b"tEXt", b"Software\0x") + chunk(b"pHYs", b"\0" * 9))
    ids = read_ids(text, LIMIT)
    assert ids is not None and np.array_equal(ids, ids_of(PIXELS)), "harmless chunks are passed over"


@needs_library
@pytest.mark.parametrize("name", [b"IHDR", b"IDAT", b"IEND"])
def test_every_checksum_counts(name: bytes) -> None:
    data = bytearray(png(PIXELS))
    at = data.index(name) - 4
    length = int.from_bytes(data[at : at + 4], "big")
    data[at + 8 + length] ^= 1
    assert read_ids(bytes(data), LIMIT) is None
    intact = png(PIXELS)
    start = intact.index(b"IDAT") + 4
    size = int.from_bytes(intact[start - 8 : start - 4], "big")
    stream = bytearray(intact[start : start + size])
    stream[-1] ^= 1  # Adler-32
    assert read_ids(intact[: start - 8] + chunk(b"IDAT", bytes(stream)) + chunk(b"IEND", b""), LIMIT) is None


@needs_library
@pytest.mark.parametrize("has_right_checksums", [False, True])
def test_thousands_of_mutations_neither_crash_nor_deceive(has_right_checksums: bool) -> None:
    """Right checksums of chunks let the damage through to the decompression and to the rows."""
    rng = np.random.default_rng(0)
    pixels, intact, accepted = PIXELS, png(PIXELS), 0
    for number in range(4000):
        if number % 100 == 0:
            pixels = segment_map(rng, 24, 33, 3 + number // 100 % 2)
            strategy = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED)[number // 200 % 2]
            intact = png(pixels, rng.integers(0, 5, 24).tolist(), strategy=strategy, level=number // 100 % 10)
        data = bytearray(intact)
        for _ in range(int(rng.integers(1, 4))):
            kind, at = rng.integers(4), int(rng.integers(8, len(data)))
            if kind == 0:
                data[at] ^= 1 << int(rng.integers(8))
            elif kind == 1:
                data[at] = int(rng.integers(256))
            elif kind == 2:
                del data[at : at + int(rng.integers(1, 9))]
            else:
                data[at:at] = rng.bytes(int(rng.integers(1, 9)))
        if has_right_checksums:
            start, end = data.find(b"IDAT") + 4, data.rfind(b"IEND") - 8
            if start < 4 or end < start:
                continue
            data = bytearray(intact[:33]) + chunk(b"IDAT", bytes(data[start:end])) + chunk(b"IEND", b"")
        ids = read_ids(bytes(data), LIMIT)
        pairs, measures = read_pairs(bytes(data), intact, LIMIT), read_measures(bytes(data), LIMIT)
        assert (measures is None) == (ids is None)
        if ids is not None and measures is not None:
            accepted += 1
            assert measured(measures) == measures_of(ids)
            assert np.array_equal(ids, ids_of(pixels)) or np.array_equal(ids, ids_of(pillow(bytes(data))))
        assert pairs is None or sum(pairs.pixels.tolist()) == pixels[..., 0].size
    assert accepted < 400


@needs_library
def test_a_bomb_costs_nothing() -> None:
    """A header of 80 million pixels over few bytes is refused before memory is taken for it."""
    data = png(PIXELS, header={"width": 9000, "height": 9000})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_pairs(data, data, 10**8) is None and read_measures(data, 10**8) is None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


@needs_library
def test_threads_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(1)
    maps = [segment_map(rng, int(rng.integers(1, 90)), int(rng.integers(1, 90))) for _ in range(40)]
    files = [png(pixels) for pixels in maps]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            for ids, pixels in zip(threads.map(lambda d: read_ids(d, LIMIT), files), maps, strict=True):
                assert ids is not None and np.array_equal(ids, ids_of(pixels))


@pytest.mark.parametrize(
    ("library", "detail"),
    [
        ((None, {}), "not built"),
        ((Path("x.so"), {"digest": "old"}), "built from other sources"),
        ((Path("/nowhere/x.so"), {"digest": segment_maps.source_digest("maps")}), "cannot be loaded"),
    ],
)
def test_without_the_library_pillow_and_numpy_serve(
    monkeypatch: pytest.MonkeyPatch, library: tuple, detail: str
) -> None:
    monkeypatch.setattr(segment_maps, "find_library", lambda kind: library)
    segment_maps._library.cache_clear()
    try:
        status = reader_status()
        assert not status.compiled and detail in status.detail and status.cure and status.cure.startswith(BUILD_COMMAND)
        assert str(status).startswith("maps: Pillow and numpy (") and "\n" not in str(status)
        assert read_ids(png(PIXELS), LIMIT) is None and read_pairs(png(PIXELS), png(PIXELS), LIMIT) is None
        ids = ids_of(PIXELS)
        assert table(count_pairs(ids, ids)) == table_of(ids, ids)
    finally:
        segment_maps._library.cache_clear()


def test_reading_maps_and_building_need_no_torch() -> None:
    code = "import sys, aunet_ops.segment_maps, aunet_ops.build; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_the_public_names_are_the_operators_whatever_comes_first() -> None:
    """The module roi_upsample has the name of its function."""
    code = "from aunet_ops import RoIUpsample; from aunet_ops import roi_upsample; print(callable(roi_upsample))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"
