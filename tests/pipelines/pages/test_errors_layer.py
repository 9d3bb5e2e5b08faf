"""Each pixel's verdict on a prediction, by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from aunet.evaluation.overlap import measure_overlap
from aunet.segments import Segment
from pipelines.pages.errors_layer import PixelVerdict, draw_verdicts, judge_pixels, swatch
from tests.tiny import CATEGORIES

DISK, SKY, STAR, GRASS = 3, 5, 9, 12
RIGHT, FALSE, MISSED, WRONG, VOID = (PixelVerdict[name].value for name in ("RIGHT", "FALSE", "MISSED", "WRONG", "VOID"))


def judge(true: list[int], true_categories: dict[int, int], predicted: list[int], categories: dict[int, int]) -> list:
    """Verdicts on a row of pixels."""
    true_ids, predicted_ids = np.array([true]), np.array([predicted])

    def segments(ids: np.ndarray, names: dict[int, int]) -> list[Segment]:
        return [
            Segment(i, names[i] % 100, CATEGORIES.by_id[names[i] % 100].is_thing, 1, is_crowd=names[i] > 100)
            for i in np.unique(ids).tolist()
            if i
        ]

    overlap = measure_overlap(
        predicted_ids, segments(predicted_ids, categories), true_ids, segments(true_ids, true_categories), CATEGORIES
    )
    rows = np.searchsorted(overlap.true_ids, true_ids)
    columns = np.searchsorted(overlap.predicted_ids, predicted_ids)
    return judge_pixels(overlap, rows, columns)[0].tolist()


def test_right_void_and_left_empty() -> None:
    assert judge([1, 1, 1, 1, 0], {1: SKY}, [7, 7, 7, 0, 7], {7: SKY}) == [RIGHT] * 3 + [MISSED, VOID]


def test_another_class_with_the_same_outline_is_wrong() -> None:
    assert judge([1, 1, 1, 2, 2], {1: DISK, 2: SKY}, [7, 7, 7, 8, 8], {7: STAR, 8: SKY}) == [WRONG] * 3 + [RIGHT] * 2


def test_a_thing_that_is_not_there_is_false_and_one_that_is_lost_is_missed() -> None:
    sky = [1, 1, 1, 1, 1, 1]
    assert judge(sky, {1: SKY}, [7, 8, 8, 8, 8, 8], {7: STAR, 8: SKY}) == [FALSE] + [RIGHT] * 5
    assert judge([2, 1, 1, 1, 1, 1], {1: SKY, 2: STAR}, [8] * 6, {8: SKY}) == [MISSED] + [RIGHT] * 5


def test_a_border_between_two_matches_is_wrong() -> None:
    assert judge([1] * 4 + [2] * 4, {1: SKY, 2: GRASS}, [7] * 5 + [8] * 3, {7: SKY, 8: GRASS}) == (
        [RIGHT] * 4 + [WRONG] + [RIGHT] * 3
    )


def test_crowds_do_not_count() -> None:
    assert judge([1, 1, 2, 2], {1: 100 + DISK, 2: SKY}, [7, 7, 8, 8], {7: DISK, 8: SKY}) == [VOID] * 2 + [RIGHT] * 2


@pytest.mark.parametrize("verdict", list(PixelVerdict))
def test_patterns_tell_verdicts_apart_without_colours(verdict: PixelVerdict) -> None:
    """Which pixels are on the pattern differs between all five, also in a picture of one verdict only."""
    patterns = {}
    for other in PixelVerdict:
        picture = Image.open(io.BytesIO(draw_verdicts(np.full((48, 48), other, np.uint8))))
        patterns[other] = (np.asarray(picture) % 2).tobytes()
    assert sum(pattern == patterns[verdict] for pattern in patterns.values()) == 1
    assert Image.open(io.BytesIO(swatch(verdict))).size == (36, 24)
