"""Pictures in, panoptic maps out, however the pictures come."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aunet import Predictor, build_model
from aunet.config import AugmentConfig, FusionConfig
from aunet.errors import InputError
from tests.tiny import CATEGORIES, TINY


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    model = build_model(TINY, CATEGORIES)
    return Predictor(
        model, TINY, CATEGORIES, AugmentConfig(short_sides=(64,), max_size=128), FusionConfig(stuff_area=0)
    )


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)


def png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def test_arrays_bytes_and_paths_give_the_same(predictor: Predictor, picture: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(png(picture))
    maps = [predictor([image])[0].panoptic.ids for image in (picture, png(picture), path, str(path))]
    assert all(torch.equal(maps[0], other) for other in maps[1:])


def test_the_map_fits_its_segments_and_the_picture(predictor: Predictor, picture: np.ndarray) -> None:
    panoptic = predictor([picture])[0].panoptic
    assert panoptic.ids.shape == (70, 90)
    areas = {s.id: s.area for s in panoptic.segments}
    assert areas == {int(i): int((panoptic.ids == i).sum()) for i in panoptic.ids.unique() if i}


def test_a_batch_of_different_sizes(predictor: Predictor, picture: np.ndarray) -> None:
    results = predictor([picture, picture[:40, :50]])
    assert [tuple(r.panoptic.ids.shape) for r in results] == [(70, 90), (40, 50)]


def test_multi_scale_testing(predictor: Predictor, picture: np.ndarray) -> None:
    views = Predictor(
        predictor.model, TINY, CATEGORIES, replace(predictor.augment, test_scales=(1.0, 1.5), test_flip=True),
        predictor.fusion,
    )  # fmt: skip
    result, mirrored = views([picture])[0], views([np.ascontiguousarray(picture[:, ::-1])])[0]
    assert result.prediction.semantic_logits.shape == (3, 70, 90)
    torch.testing.assert_close(
        result.prediction.semantic_logits.softmax(0), mirrored.prediction.semantic_logits.flip(-1).softmax(0),
        atol=2e-3, rtol=0,
    )  # fmt: skip


def test_a_missing_and_a_damaged_picture(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        predictor([tmp_path / "nowhere.jpg"])
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match=r"damaged\.jpg"):
        predictor([damaged])
