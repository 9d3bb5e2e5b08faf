"""Colours and ids, damaged pictures, and measures of segments."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from aunet.data.coco_json import read_panoptic_json
from aunet.data.coco_panoptic import (
    decode_image,
    decode_panoptic,
    encode_panoptic,
    ids_from_rgb,
    measure_segments,
    rgb_from_ids,
)
from aunet.errors import InputError


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def test_an_id_is_red_plus_256_green_plus_65536_blue() -> None:
    rgb = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [255, 255, 255]]], dtype=np.uint8)
    assert ids_from_rgb(rgb).tolist() == [[1, 256, 65536, 256**3 - 1]]
    assert ids_from_rgb(rgb).dtype == np.int32


@given(arrays(np.int32, (5, 7), elements=st.integers(0, 256**3 - 1)))
def test_ids_survive_colours_and_png(ids: np.ndarray) -> None:
    assert np.array_equal(ids_from_rgb(rgb_from_ids(ids)), ids)
    assert np.array_equal(decode_panoptic(encode_panoptic(ids)), ids)


def test_ids_beyond_three_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="16777215"):
        rgb_from_ids(np.array([[256**3]]))


def test_a_png_with_alpha_gives_the_same_ids() -> None:
    rgba = np.array([[[7, 1, 0, 255], [9, 0, 2, 255]]], dtype=np.uint8)
    assert decode_panoptic(encoded(rgba, "PNG")).tolist() == [[7 + 256, 9 + 2 * 65536]]


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint16)], ids=["grey", "16 bit"])
def test_a_panoptic_map_must_be_rgb(pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match="RGB PNG"):
        decode_panoptic(encoded(pixels, "PNG"))


def test_a_grey_picture_becomes_rgb() -> None:
    image = decode_image(encoded(np.full((3, 5), 90, np.uint8), "PNG"))
    assert image.shape == (3, 5, 3) and image.dtype == np.uint8
    assert (image == 90).all() and image.flags.writeable


def test_a_16_bit_picture_is_refused() -> None:
    with pytest.raises(InputError, match="8-bit RGB"):
        decode_image(encoded(np.zeros((3, 5), np.uint16), "PNG"))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_truncated_file_is_noticed(kind: str, share: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(pixels, kind)
    decode = decode_image if kind == "JPEG" else decode_panoptic
    with pytest.raises(InputError, match="cannot be decoded"):
        decode(data[: int(share * len(data))])


@pytest.mark.parametrize("data", [b"", b"<html>not here</html>"])
def test_what_is_no_picture_is_named_so(data: bytes) -> None:
    with pytest.raises(InputError, match="not a picture"):
        decode_image(data)


def test_segments_are_measured_by_hand() -> None:
    ids = np.array([[5, 5, 0, 9], [0, 5, 0, 9], [0, 0, 9, 9]])
    assert measure_segments(ids) == {5: (3, (0, 0, 2, 2)), 9: (4, (2, 0, 2, 3))}
    assert measure_segments(np.zeros((2, 3), np.int32)) == {}


@given(arrays(np.int32, (6, 5), elements=st.integers(0, 4)))
def test_measures_equal_counting_pixels(ids: np.ndarray) -> None:
    expected = {}
    for i in set(ids.ravel().tolist()) - {0}:
        y, x = np.nonzero(ids == i)
        box = (int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1)
        expected[i] = (len(y), box)
    assert measure_segments(ids) == expected


@pytest.mark.parametrize(("folder", "split"), [("coco_panoptic_mini", "val2017"), ("camvid_panoptic", "val")])
def test_real_annotations_agree_with_their_pngs(sample_data: Path, folder: str, split: str) -> None:
    maps = sample_data / folder / "annotations" / f"panoptic_{split}"
    annotations = read_panoptic_json(maps.with_suffix(".json").read_bytes(), "panoptic.json")
    for record in annotations.images[:10]:
        measured = measure_segments(decode_panoptic((maps / record.panoptic_name).read_bytes()))
        assert {s.id: (s.area, s.bbox) for s in record.segments} == measured
