"""Where a prediction is right and how it is wrong, pixel by pixel, in colours and patterns that all can tell apart.

The colours are Okabe and Ito's, made for eyes that see few colours; the patterns say the same once more.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from aunet.evaluation.overlap import Overlap
from pipelines.pages.palette_png import Colors, palette_png


class PixelVerdict(IntEnum):
    """What a pixel says about the prediction."""

    VOID = 0
    RIGHT = 1
    FALSE = 2
    MISSED = 3
    WRONG = 4


MEANINGS = {
    PixelVerdict.RIGHT: ("true positive", "in both segments of a match"),
    PixelVerdict.FALSE: ("false positive", "in a predicted segment without a match"),
    PixelVerdict.MISSED: ("false negative", "in a true segment without a match, or left empty"),
    PixelVerdict.WRONG: ("wrong class", "the right outline or neighbour, but another class"),
    PixelVerdict.VOID: ("void", "not counted: unlabelled, or a crowd"),
}
"""Names and explanations, in the order of the legend."""
PERIOD = 12
"""Pixels after which a pattern repeats."""
_COLORS: Colors = np.array(
    [
        *((20, 22, 26, 165), (120, 126, 134, 165)),  # void: grey dots on dark
        *((0, 158, 115, 80), (0, 158, 115, 80)),  # right: plain green
        *((213, 94, 0, 190), (255, 214, 170, 215)),  # false: orange, stripes /
        *((0, 98, 178, 190), (168, 214, 255, 215)),  # missed: blue, stripes \
        *((182, 84, 148, 185), (255, 214, 240, 185)),  # wrong: pink, a grid
    ],
    np.uint8,
)


def judge_pixels(overlap: Overlap, true_rows: NDArray[np.integer], predicted_columns: NDArray[np.integer]) -> NDArray:
    """uint8[H, W] of `PixelVerdict`.

    Args:
        overlap: of the image.
        true_rows: [H, W], the row of `overlap.pixels` that each pixel belongs to.
        predicted_columns: [H, W], likewise the column.
    """
    return _table(overlap)[true_rows, predicted_columns]


def _table(overlap: Overlap) -> NDArray[np.uint8]:
    """uint8[1 + true, 1 + predicted]: the verdict on the pixels that a pair shares."""
    matching = overlap.matching()
    size = overlap.pixels.shape
    matches, similar = np.zeros(size, bool), np.zeros(size, bool)
    matches[1:, 1:] = matching.matches
    similar[1:, 1:] = 2 * overlap.pixels[1:, 1:] > matching.union
    other_class = overlap.true_category[:, None] != overlap.predicted_category[None]
    missed, false = np.ones((size[0], 1), bool), np.ones((1, size[1]), bool)
    missed[1:, 0] = ~matching.matches.any(1)
    false[0, 1:] = ~matching.matches.any(0) & ~matching.excused
    predicted_void = np.zeros(size, bool)
    predicted_void[:, 0] = True
    table = np.full(size, PixelVerdict.MISSED, np.uint8)  # a neighbour of the same class has these pixels
    table[other_class & ~predicted_void] = PixelVerdict.WRONG
    table[np.broadcast_to(false, size) & ~predicted_void] = PixelVerdict.FALSE
    table[np.broadcast_to(missed, size)] = PixelVerdict.MISSED
    table[similar & other_class] = PixelVerdict.WRONG
    table[matches] = PixelVerdict.RIGHT
    table[0] = PixelVerdict.VOID
    table[overlap.true_crowd] = PixelVerdict.VOID
    return table


def draw_verdicts(verdicts: NDArray[np.uint8]) -> bytes:
    """A transparent PNG of uint8[H, W] of `PixelVerdict`; an index is 2 × verdict, and one more on its pattern."""
    height, width = verdicts.shape
    y, x = np.arange(height)[:, None], np.arange(width)[None]
    third = PERIOD // 3
    patterns = np.stack(
        [
            (x % PERIOD < 2) & (y % PERIOD < 2),
            np.zeros((height, width), bool),
            (x + y) % PERIOD < third,
            (x - y) % PERIOD < third,
            (x % PERIOD < 2) | (y % PERIOD < 2),
        ]
    )
    on_pattern = np.take_along_axis(patterns, verdicts[None].astype(np.intp), axis=0)[0]
    return palette_png((2 * verdicts + on_pattern).astype(np.uint8), _COLORS)


def swatch(verdict: PixelVerdict) -> bytes:
    """A small PNG for a legend."""
    return draw_verdicts(np.full((2 * PERIOD, 3 * PERIOD), verdict, np.uint8))
