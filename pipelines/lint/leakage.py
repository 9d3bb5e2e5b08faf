"""Pictures that are in both splits: the same file, or the same picture saved again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.lint.rules import Defect

if TYPE_CHECKING:
    from PIL.Image import Image

NEAR = 5
"""Bits, of 64, in which the hashes of two pictures may differ that are said to look alike."""
FLAT = 8
"""Grey levels between the darkest and the brightest part, of 72, below which a picture has no hash."""
_BLOCK = 4_000_000
"""Pairs compared at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Print:
    """What tells a picture from others."""

    image: Any
    """Image id; None for pictures of the other split."""
    uri: str
    sha256: bytes
    looks: int | None


def difference_hash(picture: Image) -> int | None:
    """64 bits: whether each of 8×8 parts of the grey picture is darker than its right neighbour (dHash).

    It hardly changes when a picture is saved again, scaled or made darker; None for a picture without any contrast.
    """
    from PIL.Image import Resampling

    if picture.mode.startswith(("I", "F")):
        return None
    grey = np.asarray(picture.convert("L").resize((9, 8), Resampling.BOX), dtype=np.int16)
    if int(np.ptp(grey)) < FLAT:
        return None
    return int.from_bytes(np.packbits(grey[:, :-1] < grey[:, 1:]).tobytes(), "big")


def find_repeated(prints: Iterable[Print]) -> list[Defect]:
    """Files that one split holds twice."""
    first: dict[bytes, Print] = {}
    found = []
    for own in prints:
        other = first.setdefault(own.sha256, own) if own.sha256 else own
        if other.uri != own.uri:
            said = f"{own.uri} has the same bytes as {other.uri}, image {other.image!r}"
            found.append(Defect(rule="image-twice", image=own.image, message=said, twin=other.uri))
    return found


def find_leaks(prints: Sequence[Print], others: Sequence[Print]) -> list[Defect]:
    """Pictures of `prints` that are among `others` too, each with the one that is nearest to it."""
    same = {other.sha256: other for other in others if other.sha256}
    exact = {own.uri: same[own.sha256] for own in prints if own.sha256 in same}
    found = [
        Defect(
            rule="leak-exact", image=own.image, twin=exact[own.uri].uri,
            message=f"{own.uri} has the same bytes as {exact[own.uri].uri} of the other split",
        )
        for own in prints
        if own.uri in exact
    ]  # fmt: skip
    seen = [own for own in prints if own.looks is not None and own.uri not in exact]
    known = [other for other in others if other.looks is not None]
    for own, (nearest, bits, count) in zip(seen, _nearest(_words(seen), _words(known)), strict=True):
        if count:
            more = f", and {count - 1} more" if count > 1 else ""
            said = f"{own.uri} looks like {known[nearest].uri} of the other split ({bits} of 64 bits differ{more})"
            found.append(Defect(rule="leak-near", image=own.image, message=said, twin=known[nearest].uri))
    return found


def _words(prints: Sequence[Print]) -> NDArray[np.uint64]:
    return np.array([p.looks for p in prints], dtype=np.uint64)


def _nearest(own: NDArray[np.uint64], others: NDArray[np.uint64]) -> list[tuple[int, int, int]]:
    """For each of `own`: position and distance of the nearest of `others`, and how many are within `NEAR`."""
    if not len(others):
        return [(0, 64, 0)] * len(own)
    found: list[tuple[int, int, int]] = []
    rows = max(1, _BLOCK // len(others))
    for first in range(0, len(own), rows):
        bits = np.bitwise_count(own[first : first + rows, None] ^ others)
        nearest = bits.argmin(1)
        within = (bits <= NEAR).sum(1)
        found += zip(nearest.tolist(), bits.min(1).tolist(), within.tolist(), strict=True)
    return found
