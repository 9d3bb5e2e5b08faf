"""Batches: which images share one, and that neither neighbours nor failures change a map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from aunet import Predictor, build_model
from aunet.config import AugmentConfig, FusionConfig
from aunet.errors import InputError
from pipelines.serving.labelling import LabelledImage, label_all, plan_batches
from tests.cityscapes import png
from tests.tiny import CATEGORIES, TINY

AUGMENT = AugmentConfig(short_sides=(96,), max_size=128)
MODEL = {"version": 1}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(build_model(TINY, CATEGORIES), TINY, CATEGORIES, AUGMENT, FusionConfig(stuff_area=1))


def picture(height: int, width: int, seed: int) -> bytes:
    return png(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_images_of_one_input_size_share_a_batch() -> None:
    sizes = {0: (64, 64), 1: (96, 128), 2: (96, 96), 3: (480, 640), 4: (48, 64)}
    assert plan_batches(sizes, AUGMENT) == [[0, 2], [1, 3, 4]]


def test_a_batch_has_a_limited_number_of_pixels() -> None:
    sizes = dict.fromkeys(range(5), (96, 96))
    assert plan_batches(sizes, AUGMENT, max_pixels=2 * 96 * 96) == [[0, 1], [2, 3], [4]]
    assert plan_batches(sizes, AUGMENT, max_pixels=1) == [[0], [1], [2], [3], [4]]


def test_a_map_does_not_depend_on_its_batch(predictor: Predictor) -> None:
    pictures = [picture(64, 64, 0), picture(96, 128, 1), picture(64, 64, 2), picture(50, 128, 3)]
    together: list[Any] = label_all(predictor, pictures, 10**6, MODEL)
    for data, labelled in zip(pictures, together, strict=True):
        (alone,) = label_all(predictor, [data], 10**6, MODEL)
        assert isinstance(alone, LabelledImage) and alone.ids.any()
        assert (labelled.ids == alone.ids).all() and labelled.segments == alone.segments


def test_a_picture_that_cannot_be_decoded_leaves_the_others_alone(predictor: Predictor) -> None:
    good = picture(64, 64, 0)
    first, bad, large, last = label_all(predictor, [good, good[:-30], picture(65, 65, 1), good], 64 * 64, MODEL)
    assert isinstance(first, LabelledImage) and isinstance(last, LabelledImage) and (first.ids == last.ids).all()
    assert isinstance(bad, InputError) and "cannot be decoded" in str(bad)
    assert isinstance(large, InputError) and "65×65" in str(large)


def test_a_batch_that_fails_is_labelled_one_by_one() -> None:
    class Narrow:
        """Has memory for one image, and none for a white one."""

        augment = AUGMENT

        def __call__(self, images: list[np.ndarray]) -> list[Any]:
            if len(images) > 1 or images[0].min() == 255:
                raise MemoryError("too many")
            raise StopIteration(int(images[0][0, 0, 0]))

    pictures = [png(np.full((8, 8, 3), grey, np.uint8)) for grey in (1, 255, 2)]
    narrow: Any = Narrow()
    outcomes = label_all(narrow, pictures, 100, MODEL)
    assert [type(outcome) for outcome in outcomes] == [StopIteration, MemoryError, StopIteration]
    assert [outcome.args[0] for outcome in outcomes if isinstance(outcome, StopIteration)] == [1, 2]
