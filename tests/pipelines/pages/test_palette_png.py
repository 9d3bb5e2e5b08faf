"""PNGs with a palette, as Pillow and the page's script read them."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from pipelines.pages.palette_png import palette_png


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (33, 50)])
def test_pillow_reads_the_same_colours(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 256, shape, np.uint8)
    colors = rng.integers(0, 256, (256, 4), np.uint8)
    picture = Image.open(io.BytesIO(palette_png(indices, colors)))
    picture.load()
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), indices)
    np.testing.assert_array_equal(np.asarray(picture.convert("RGBA")), colors[indices])


def test_every_row_is_filtered_up_which_is_all_that_the_script_can_undo() -> None:
    content = palette_png(np.arange(40, dtype=np.uint8).reshape(5, 8), np.zeros((64, 4), np.uint8))
    start = content.index(b"IDAT") + 4
    length = int.from_bytes(content[start - 8 : start - 4], "big")
    rows = np.frombuffer(zlib.decompress(content[start : start + length]), np.uint8).reshape(5, 9)
    assert rows[:, 0].tolist() == [2] * 5
