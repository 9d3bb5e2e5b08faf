"""The things of generated scenes: their outlines as distances in pixels, their paint, their shading."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from aunet.data.textures import Canvas, Plane, mix, smoothstep

THINGS = ("ball", "crate", "tent", "star", "ring", "cross")
"""Names of the thing categories, in the order of their ids."""

_TYPICAL_HUE = {"ball": 0.0, "crate": 0.09, "tent": 0.32, "star": 0.15, "ring": 0.58, "cross": 0.82}
_PENTAGON = (
    (0.0, 1.0),
    (0.9510565, 0.3090170),
    (0.5877853, -0.8090170),
    (-0.5877853, -0.8090170),
    (-0.9510565, 0.3090170),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """One object: its position and its look."""

    kind: str
    x: float
    y: float
    radius: float
    """Half of the extent, in pixels."""
    turn: tuple[float, float]
    """(cosine, sine) of its rotation."""
    stretch: float
    """Width over height of balls and crates."""
    thickness: float
    """That of rings and of the arms of crosses, as a share of the radius."""
    color: NDArray[np.float32]
    accent: NDArray[np.float32]


def draw_thing(rng: Generator, kind: str, x: float, y: float, radius: float) -> Thing:
    """A thing of random look at a given position."""
    hue = _TYPICAL_HUE[kind] + 0.14 * (rng.random() - 0.5) if rng.random() < 0.55 else rng.random()
    # The tangent of half the angle gives a rotation without sine or cosine: ±90° for 1, a tilt below.
    tangent = (2 * rng.random() - 1) * (0.16 if kind in ("tent", "crate") else 1.0)
    cosine = (1 - tangent * tangent) / (1 + tangent * tangent)
    return Thing(
        kind=kind,
        x=x,
        y=y,
        radius=radius,
        turn=(cosine, 2 * tangent / (1 + tangent * tangent)),
        stretch=0.8 + 0.45 * rng.random(),
        thickness=0.16 + 0.2 * rng.random(),
        color=_hue(hue, 0.6 + 0.35 * rng.random(), 0.62 + 0.35 * rng.random()),
        accent=_hue(rng.random(), 0.25 * rng.random(), 0.85 + 0.12 * rng.random()),
    )


def paint_thing(canvas: Canvas, thing: Thing) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """Paint `thing` and its shadow onto `canvas`, in place.

    Returns:
        The window (rows, columns) that was painted, and bool[window] of the pixels that the thing covers.
    """
    height, width = canvas.shape[:2]
    reach = int(thing.radius * 1.5) + 4
    rows = slice(max(int(thing.y) - reach, 0), min(int(thing.y) + reach + 1, height))
    columns = slice(max(int(thing.x) - reach, 0), min(int(thing.x) + reach + 1, width))
    dy = (np.arange(rows.start, rows.stop, dtype=np.float32) - thing.y)[:, None]
    dx = (np.arange(columns.start, columns.stop, dtype=np.float32) - thing.x)[None, :]
    cosine, sine = (np.float32(v) for v in thing.turn)
    u, v = dx * cosine + dy * sine, dy * cosine - dx * sine
    distance = _distance(thing, u, v)

    shift = 1 + int(thing.radius * 0.12)
    shadow = np.zeros_like(distance)
    shadow[shift:, shift:] = np.clip(0.6 - distance[:-shift, :-shift] / 4, 0, 1) * 0.4
    window = canvas[rows, columns]
    window *= 1 - shadow[..., None]

    bevel = max(2.0, 0.4 * thing.radius)
    rise = np.clip(-distance / bevel, 0, 1)
    rise = rise * (2 - rise)
    slope_y, slope_x = np.zeros_like(rise), np.zeros_like(rise)
    slope_y[1:-1] = rise[2:] - rise[:-2]
    slope_x[:, 1:-1] = rise[:, 2:] - rise[:, :-2]
    light = (slope_x * 0.6 + slope_y * 0.8) * bevel * 0.17 + rise * 0.12
    paint = _paint(thing, u, v, distance) * (0.88 + light[..., None])
    window += (paint - window) * np.clip(0.5 - distance, 0, 1)[..., None]
    return (rows, columns), distance < 0


def _distance(thing: Thing, u: Plane, v: Plane) -> Plane:
    """float32[H, W]: pixels to the outline, negative inside."""
    r = np.float32(thing.radius)
    if thing.kind == "ball":
        return np.sqrt(u * u / thing.stretch + v * v * thing.stretch) - r * 0.95
    if thing.kind == "ring":
        half = r * (thing.thickness * 0.75 + 0.03)
        return np.abs(np.sqrt(u * u + v * v) - (r - half)) - half
    if thing.kind == "crate":
        return _box(u, v, r * (0.85 * thing.stretch), r * 0.85) - 1
    if thing.kind == "cross":
        arm = r * thing.thickness
        return np.minimum(_box(u, v, r, arm), _box(u, v, arm, r))
    if thing.kind == "tent":
        slant = 0.8 * np.abs(u) - 0.6 * (v + 0.75 * r)
        return np.maximum(slant, v - r * 0.68)
    inner = r * 0.382
    lines = np.stack([u * a + v * b for a, b in _PENTAGON]) - inner
    return np.sort(lines, axis=0)[-2]


def _paint(thing: Thing, u: Plane, v: Plane, distance: Plane) -> Canvas:
    """float32[H, W, 3]: the thing's surface before shading; each kind has its mark."""
    r = np.float32(thing.radius)
    if thing.kind == "ball":
        mark = np.abs(v) < 0.2 * r
    elif thing.kind == "ring":
        mark = u * v > 0
    elif thing.kind == "crate":
        mark = (distance > (-0.2) * r) | (np.abs(u - v) < 0.13 * r)
    elif thing.kind == "cross":
        mark = distance < (-0.5 * thing.thickness) * r
    elif thing.kind == "tent":
        mark = (v > 0.0 * r) & (np.abs(u) < 0.42 * (v + 0.05 * r))
    else:
        mark = u * u + v * v < r * r * 0.06
    accent = thing.color * 0.42 if thing.kind in ("tent", "crate") else thing.accent
    paint = np.where(mark[..., None], accent, thing.color)
    if thing.kind == "ball":
        gloss = (u + v + r * 0.62) / r, (u - v) / r
        spot = 1 - smoothstep(0.02, 0.3, gloss[0] * gloss[0] + gloss[1] * gloss[1])
        return mix(paint, np.ones(3, dtype=np.float32), spot * 0.75)
    return paint


def _box(u: Plane, v: Plane, half_width: np.float32, half_height: np.float32) -> Plane:
    a, b = np.abs(u) - half_width, np.abs(v) - half_height
    outside_a, outside_b = np.maximum(a, 0), np.maximum(b, 0)
    return np.sqrt(outside_a * outside_a + outside_b * outside_b) + np.minimum(np.maximum(a, b), 0)


def _hue(hue: float, saturation: float, value: float) -> NDArray[np.float32]:
    """HSV, each 0 … 1 (the hue wraps), to float32[3] RGB."""
    channels = [abs(((hue * 6 + offset) % 6) - 3) - 1 for offset in (0.0, 4.0, 2.0)]
    return np.array([value * (1 - saturation + saturation * min(max(c, 0.0), 1.0)) for c in channels], dtype=np.float32)
