"""Noise and textures for generated scenes: only random bits and + − × ÷, so that they are equal on every machine.

Sines, exponentials and normal deviates are avoided on purpose: their last bits depend on the processor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Plane = NDArray[np.floating[Any]]
"""float32[H, W]."""
Canvas = NDArray[np.floating[Any]]
"""float32[H, W, 3], about 0 … 1."""


def noise(rng: Generator, height: int, width: int, cell_y: float, cell_x: float) -> Plane:
    """Smooth random values in 0 … 1, float32[height, width]; bumps are about `cell_y` × `cell_x` pixels."""
    y0, fy = _lattice(height, cell_y)
    x0, fx = _lattice(width, cell_x)
    grid = rng.random((int(y0[-1]) + 2, int(x0[-1]) + 2), dtype=np.float32)
    lines = grid[y0] * (1 - fy)[:, None] + grid[y0 + 1] * fy[:, None]
    return lines[:, x0] * (1 - fx) + lines[:, x0 + 1] * fx


def ridge(rng: Generator, width: int, cell: float) -> Plane:
    """An uneven line in about -1 … 1, float32[width]: bumps of `cell` pixels, and shorter ones on them."""
    long, middle, short = (noise(rng, 1, width, 1, cell / 3**k)[0] for k in range(3))
    return (long + middle * 0.35 + short * 0.12) * 1.36 - 1


def wave(x: Plane) -> Plane:
    """A sine made of parabolas: period 1, range -1 … 1."""
    u = x - np.floor(x)
    half = np.where(u < 0.5, u, u - 0.5)
    arch = 16 * half * (0.5 - half)
    return np.where(u < 0.5, arch, -arch)


def smoothstep(low: float, high: float, x: Plane) -> Plane:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: Canvas, b: Canvas, share: Plane) -> Canvas:
    """`a` where `share` is 0, `b` where it is 1."""
    return a + (b - a) * share[..., None]


def rgb(red: int, green: int, blue: int) -> Plane:
    """A colour given in 0 … 255 as float32[3] in 0 … 1."""
    return np.array([red, green, blue], dtype=np.float32) / 255


def _lattice(length: int, cell: float) -> tuple[NDArray[np.intp], Plane]:
    at = np.arange(length, dtype=np.float32) / cell
    low = at.astype(np.intp)
    t = at - low.astype(np.float32)
    return low, t * t * (3 - 2 * t)


def _tint(rng: Generator, color: Plane, spread: float = 0.05) -> Plane:
    return color + (rng.random(3, dtype=np.float32) - 0.5) * (2 * spread)


def _rows(height: int) -> Plane:
    return (np.arange(height, dtype=np.float32) / max(height - 1, 1))[:, None]


_SKIES = (
    (rgb(66, 135, 212), rgb(196, 224, 245)),
    (rgb(44, 100, 190), rgb(158, 203, 240)),
    (rgb(104, 118, 176), rgb(250, 196, 150)),
    (rgb(140, 165, 190), rgb(222, 228, 232)),
)


def sky(rng: Generator, height: int, width: int) -> Canvas:
    """A gradient from zenith to horizon, with clouds."""
    zenith, horizon = _SKIES[int(rng.integers(len(_SKIES)))]
    down = np.broadcast_to(_rows(height), (height, width))
    canvas = mix(_tint(rng, zenith, 0.03), _tint(rng, horizon, 0.03), down)
    clouds = noise(rng, height, width, 11, 34) * 0.6 + noise(rng, height, width, 5, 13) * 0.4
    low = 0.35 + 0.3 * rng.random()
    return mix(canvas, rgb(252, 250, 248), smoothstep(low, low + 0.3, clouds) * 0.85)


def mountain(rng: Generator, height: int, width: int) -> Canvas:
    """Folded rock, paler toward the top."""
    folds = noise(rng, height, width, 16, 10) * 0.75 + noise(rng, height, width, 6, 4) * 0.25
    light = np.abs(folds - 0.5) - 0.12
    base = mix(_tint(rng, rgb(172, 172, 194), 0.04), _tint(rng, rgb(104, 98, 112), 0.04), _rows(height) + 0 * folds)
    return base + (light + (rng.random((height, width), dtype=np.float32) - 0.5) * 0.05)[..., None]


def water(rng: Generator, height: int, width: int) -> Canvas:
    """Waves that grow toward the viewer, with glints."""
    down = _rows(height)
    bend = noise(rng, height, width, 7, 22)
    waves = wave(down * (height / 7) * (1.5 - down * 0.5) + bend * 1.6)
    color = mix(_tint(rng, rgb(78, 158, 190)), _tint(rng, rgb(22, 84, 140)), down + 0 * bend)
    glint = smoothstep(0.72, 1.0, waves * (0.55 + 0.5 * noise(rng, height, width, 3, 9)))
    return mix(color + waves[..., None] * 0.05, rgb(226, 244, 250), glint * 0.7)


def sand(rng: Generator, height: int, width: int) -> Canvas:
    """Dunes with ripples and grain."""
    dunes = noise(rng, height, width, 14, 40)
    grain = rng.random((height, width), dtype=np.float32) - 0.5
    ripples = wave(_rows(height) * (height / 5) + dunes * 5)
    light = (dunes - 0.5) * 0.18 + ripples * 0.035 + grain * 0.09
    return _tint(rng, rgb(222, 194, 138)) + light[..., None] * rgb(255, 240, 205)


def grass(rng: Generator, height: int, width: int) -> Canvas:
    """Blades in patches, and sometimes flowers."""
    blades = noise(rng, height, width, 4, 1.3) - 0.5
    patches = noise(rng, height, width, 15, 26)
    meadow = mix(_tint(rng, rgb(70, 132, 52)), _tint(rng, rgb(140, 172, 72)), patches)
    canvas = meadow + blades[..., None] * rgb(60, 76, 40)
    if rng.random() < 0.5:
        petal = (rgb(250, 244, 240), rgb(250, 220, 90), rgb(226, 120, 150))[int(rng.integers(3))]
        flowers = (rng.random((height, width), dtype=np.float32) < 0.008) & (patches > 0.45)
        canvas[flowers] = petal
    return canvas


def road(rng: Generator, height: int, width: int) -> Canvas:
    """Asphalt; its markings follow the layout and are painted with it."""
    grain = rng.random((height, width), dtype=np.float32) - 0.5
    worn = noise(rng, height, width, 20, 20) - 0.5
    return _tint(rng, rgb(92, 92, 98), 0.03) + (grain * 0.08 + worn * 0.09)[..., None]


def wall(rng: Generator, height: int, width: int) -> Canvas:
    """Bricks or stones in running bond."""
    brick_h, brick_w = ((6, 13), (8, 15), (10, 14))[int(rng.integers(3))]
    brick = (rgb(168, 84, 62), rgb(178, 112, 80), rgb(158, 148, 136))[int(rng.integers(3))]
    y, x = np.arange(height), np.arange(width)
    course = y // brick_h
    along = x[None, :] + ((course % 2) * (brick_w // 2))[:, None]
    tone = rng.random((int(course[-1]) + 1, width // brick_w + 2), dtype=np.float32) - 0.5
    light = tone[course[:, None], along // brick_w] * 0.22
    grain = (rng.random((height, width), dtype=np.float32) - 0.5) * 0.06
    mortar = ((y % brick_h) == 0)[:, None] | (along % brick_w == 0)
    return (
        np.where(mortar[..., None], rgb(206, 198, 186), _tint(rng, brick, 0.04) + light[..., None]) + grain[..., None]
    )


TEXTURES: dict[str, Callable[[Generator, int, int], Canvas]] = {
    f.__name__: f for f in (sky, mountain, water, sand, grass, road, wall)
}
"""Stuff category → its texture, (rng, height, width) → float32[height, width, 3]."""
