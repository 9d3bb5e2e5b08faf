"""Batches: images of equal size together, and fewer of them where memory is short."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from aunet.data.sample import Sample
from pipelines.measuring.batches import MOST_ON_GPU, Batches
from tests.threshold import Threshold


class Gpu(Threshold):
    """Has memory for that many pixels."""

    device = torch.device("cuda")

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels

    def __call__(self, images: Any) -> Any:
        if sum(image.shape[0] * image.shape[1] for image in images) > self.pixels:
            raise torch.OutOfMemoryError
        return super().__call__(images)


def samples(*sizes: tuple[int, int]) -> list[Sample]:
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]
    return [Sample(n, image, np.zeros(image.shape[:2], np.uint8), []) for n, image in enumerate(images)]


def test_only_images_of_equal_size_share_a_batch() -> None:
    predictor: Any = Gpu(10**9)
    wide, high = (4, 6), (6, 4)
    results = list(Batches(predictor).results(samples(wide, high, wide, high, wide)))
    assert [sample.image_id for sample, _ in results] == [0, 2, 4, 1, 3] and predictor.batches == [3, 2]
    for sample, result in results:
        assert result.panoptic.ids.shape == sample.image.shape[:2]
        assert torch.equal(result.panoptic.ids, Threshold()([sample.image])[0].panoptic.ids)


def test_a_batch_that_does_not_fit_is_halved() -> None:
    predictor: Any = Gpu(3 * 24)
    batches = Batches(predictor)
    assert len(list(batches.results(samples(*[(4, 6)] * 10)))) == 10
    assert batches.size == 2 and max(predictor.batches) == 2 and MOST_ON_GPU == 8


def test_a_single_image_that_does_not_fit_is_an_error() -> None:
    predictor: Any = Gpu(3)
    with pytest.raises(torch.OutOfMemoryError):
        list(Batches(predictor).results(samples((4, 6))))


def test_on_a_cpu_images_go_one_by_one() -> None:
    predictor: Any = Threshold()
    list(Batches(predictor).results(samples((4, 6), (4, 6))))
    assert predictor.batches == [1, 1]
