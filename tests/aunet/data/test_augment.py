"""Geometry and colour: reproducible, and the same for image and labels."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from aunet.config import AugmentConfig
from aunet.data.augment import Geometry, augment, draw_geometry, evaluation_size
from aunet.data.sample import Sample
from aunet.structures import Segment


def gradient(height: int, width: int) -> Sample:
    """An image whose red channel is its segment's number."""
    segment_map = np.minimum(np.arange(width) * 4 // width + 1, 4)[None].repeat(height, 0).astype(np.int32)
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = segment_map * 50
    return Sample(1, image, segment_map, [Segment(n, 1, True, 1) for n in range(1, 5)])


@pytest.mark.parametrize("flip", [True, False])
def test_image_and_labels_stay_together(flip: bool) -> None:
    config = AugmentConfig(short_sides=(48, 64), max_size=200, scale=(0.5, 2.0), crop=(64, 64), flip=flip)
    for seed in range(30):
        result = augment(gradient(80, 120), config, np.random.default_rng(seed))
        assert result.image.shape == (64, 64, 3) and result.segment_map.shape == (64, 64)
        labelled = result.segment_map > 0
        wrong = (np.abs(result.image[..., 0] / 50 - result.segment_map) > 0.5) & labelled
        assert wrong.sum() <= 0.05 * labelled.sum()


def test_same_generator_state_same_sample() -> None:
    config = AugmentConfig(short_sides=(48, 64), scale=(0.5, 2.0), crop=(64, 64), color=0.4)
    first, second = (augment(gradient(80, 120), config, np.random.default_rng([1, 2, 3])) for _ in range(2))
    assert np.array_equal(first.image, second.image) and np.array_equal(first.segment_map, second.segment_map)
    other = augment(gradient(80, 120), config, np.random.default_rng([1, 3, 3]))
    assert not np.array_equal(first.image, other.image)


def test_no_change_is_no_change() -> None:
    sample = gradient(64, 96)
    config = AugmentConfig(short_sides=(64,), max_size=200, flip=False)
    result = augment(sample, config, np.random.default_rng(0))
    assert np.array_equal(result.image, sample.image) and np.array_equal(result.segment_map, sample.segment_map)


def test_a_flip_mirrors() -> None:
    sample = gradient(32, 64)
    geometry = Geometry(0, 0, 32, 64, size=(32, 64), flip=True, canvas=(32, 64))
    assert np.array_equal(geometry.labels(sample.segment_map), sample.segment_map[:, ::-1])
    assert np.array_equal(geometry.image(sample.image), sample.image[:, ::-1])


@settings(max_examples=200, deadline=None)
@given(
    height=st.integers(1, 700),
    width=st.integers(1, 700),
    low=st.floats(0.1, 1),
    high=st.floats(1, 3),
    crop=st.none() | st.tuples(st.integers(8, 300), st.integers(8, 300)),
    seed=st.integers(0, 2**32),
)
def test_geometry_stays_inside_the_source(
    height: int, width: int, low: float, high: float, crop: tuple[int, int] | None, seed: int
) -> None:
    config = AugmentConfig(short_sides=(64, 128), max_size=400, scale=(low, high), crop=crop)
    g = draw_geometry(height, width, config, np.random.default_rng(seed))
    assert 0 <= g.top and g.top + g.height <= height and g.height >= 1
    assert 0 <= g.left and g.left + g.width <= width and g.width >= 1
    assert g.size[0] <= g.canvas[0] and g.size[1] <= g.canvas[1]


@pytest.mark.parametrize(("draw", "mean"), [("uniform", 1.05), ("log_uniform", 0.634)])
def test_large_scale_jitter(draw: Literal["uniform", "log_uniform"], mean: float) -> None:
    """Factors from 0.1 to 2, evenly; where the image is smaller than the crop, the rest is void."""
    config = AugmentConfig(short_sides=(80,), max_size=200, scale=(0.1, 2.0), scale_draw=draw, crop=(80, 120))
    geometries = [draw_geometry(80, 120, config, np.random.default_rng(seed)) for seed in range(600)]
    factors = np.array([g.size[0] / g.height for g in geometries])
    assert 0.09 < factors.min() < 0.15 and 1.9 < factors.max() < 2.1
    assert factors.mean() == pytest.approx(mean, abs=0.08)
    for seed in range(40):
        result = augment(gradient(80, 120), config, np.random.default_rng(seed))
        size = draw_geometry(80, 120, config, np.random.default_rng(seed)).size
        assert result.image.shape == (80, 120, 3)
        outside = np.ones((80, 120), bool)
        outside[: size[0], : size[1]] = False
        assert not result.segment_map[outside].any() and result.segment_map[~outside].all()


@pytest.mark.parametrize(
    ("size", "expected"), [((480, 640), (600, 800)), ((400, 1000), (400, 1000)), ((100, 100), (600, 600))]
)
def test_evaluation_size_is_the_papers(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert evaluation_size(*size, AugmentConfig(short_sides=(600,), max_size=1000)) == expected
