"""Heat maps: which end of the colours is which, ranges, sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aunet.drawing_attention import MIN_SPAN, SIDE, colorize, draw_attention, value_range

STRIP, GAP = 30, 6


def test_colours_go_from_violet_to_yellow_and_grow_lighter_all_the_way() -> None:
    assert colorize(np.array([0.0, 1.0])).tolist() == [[68, 1, 84], [253, 231, 37]]
    lightness = colorize(np.linspace(0, 1, 50)) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()
    assert colorize(np.array([[-1.0, 2.0]])).tolist() == [[[68, 1, 84], [253, 231, 37]]], "nothing beyond the ends"


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.2, 0.9], (0.2, 0.9)), ([0.97, 0.99], (0.99 - MIN_SPAN, 0.99)), ([0.0, 0.0], (0.0, MIN_SPAN))],
)
def test_a_range_covers_the_values_and_is_never_narrow(values: list[float], expected: tuple[float, float]) -> None:
    assert value_range(np.array(values)) == pytest.approx(expected)


def test_high_attention_is_yellow_where_it_is() -> None:
    weights = torch.zeros(60, 80)
    weights[:, 40:] = 1
    sheet = draw_attention(np.full((60, 80, 3), 128, np.uint8), {"mam": weights}).astype(int)
    assert sheet.shape == (STRIP + 360, 2 * SIDE + GAP, 3)
    image, low, high = (sheet[STRIP + 180, x] for x in (240, SIDE + GAP + 100, SIDE + GAP + 380))
    assert image.tolist() == [128, 128, 128]
    assert high[0] > high[2] + 80 and high[1] > high[2] + 80, "yellow"
    assert low[2] > low[1] + 40, "violet"


def test_a_constant_map_shows_no_pattern() -> None:
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.uniform(0.9999, 1, (60, 80)).astype(np.float32))
    sheet = draw_attention(np.full((60, 80, 3), 128, np.uint8), {"pam2": noise})
    assert sheet[STRIP:, SIDE + GAP :].astype(int).std(axis=(0, 1)).max() < 1


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 2, 1), (4, 3, 2), (5, 3, 2)])
def test_panels_stand_in_rows(count: int, columns: int, rows: int) -> None:
    sheet = draw_attention(np.zeros((30, 40, 3), np.uint8), {f"pam{n}": torch.rand(30, 40) for n in range(count)})
    assert sheet.shape == (rows * (360 + STRIP + GAP) - GAP, columns * (SIDE + GAP) - GAP, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (2000, 2)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    sheet = draw_attention(np.zeros((*size, 3), np.uint8), {"mam": torch.rand(size)})
    assert sheet.shape[1] >= 2 * 240


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mam must have shape \[30, 40\] as image has"):
        draw_attention(np.zeros((30, 40, 3), np.uint8), {"mam": torch.rand(40, 30)})
