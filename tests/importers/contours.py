"""Masks as outlines along the edges of pixels."""

from __future__ import annotations

import numpy as np

from pipelines.data.importing.value_maps import connected_areas


def outlines(mask: np.ndarray) -> list[list[list[int]]]:
    """The outer outline of every area of a mask, corner by corner; holes are not drawn."""
    areas = connected_areas(np.where(mask, 0, -1))
    return [_outer(areas == number) for number in range(1, int(areas.max()) + 1)]


def _outer(area: np.ndarray) -> list[list[int]]:
    """Walk along the pixel edges with the area on the right, from its first pixel on."""
    padded = np.pad(area, 1)
    y, x = (int(v) for v in np.argwhere(area)[0])
    start, step = (x, y), (1, 0)
    points, position = [], start
    while True:
        position = position[0] + step[0], position[1] + step[1]
        ahead_left, ahead_right = (_pixel(padded, position, step, side) for side in (-1, 1))
        if ahead_left:
            turned = (step[1], -step[0])
        elif ahead_right:
            turned = step
        else:
            turned = (-step[1], step[0])
        if turned != step:
            points.append([position[0], position[1]])
        step = turned
        if position == start and step == (1, 0):
            return points


def _pixel(padded: np.ndarray, corner: tuple[int, int], step: tuple[int, int], side: int) -> bool:
    """The pixel ahead of a corner, on the left (-1) or right (1) of the direction of `step`."""
    right = (-step[1], step[0])
    x = corner[0] + (step[0] + side * right[0] - 1) // 2
    y = corner[1] + (step[1] + side * right[1] - 1) // 2
    return bool(padded[y + 1, x + 1])
