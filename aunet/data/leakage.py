"""Pictures that are in both splits: the same file, or the same picture saved again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aunet.data.defects import Defect

NEAR = 5
"""Bits, of 64, in which the difference hashes of two pictures that look alike may differ."""
PAIRS_PER_BLOCK = 4_000_000
"""Pairs compared at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Print:
    """The fingerprint of a picture, which tells it from others."""

    image: Any
    """Image id; None for pictures of the other split."""
    uri: str
    sha256: bytes
    """Of the file; empty where there is none."""
    difference_hash: int | None
    """See `aunet.data.pictures`."""


def find_repeated(prints: Iterable[Print]) -> list[Defect]:
    """Files that one split holds twice."""
    first: dict[bytes, Print] = {}
    defects = []
    for own in prints:
        other = first.setdefault(own.sha256, own) if own.sha256 else own
        if other.uri != own.uri:
            message = f"{own.uri} has the same bytes as {other.uri}, image {other.image!r}"
            defects.append(Defect(rule="image-twice", image=own.image, message=message, twin=other.uri))
    return defects


def find_leaks(
    prints: Sequence[Print], others: Sequence[Print], pairs_per_block: int = PAIRS_PER_BLOCK
) -> list[Defect]:
    """Pictures of `prints` that are among `others` too, each with the one that is nearest to it."""
    same_bytes = {other.sha256: other for other in others if other.sha256}
    defects, rest = [], []
    for own in prints:
        if twin := same_bytes.get(own.sha256):
            message = f"{own.uri} has the same bytes as {twin.uri} of the other split"
            defects.append(Defect(rule="leak-exact", image=own.image, message=message, twin=twin.uri))
        elif own.difference_hash is not None:
            rest.append(own)
    known = [other for other in others if other.difference_hash is not None]
    neighbours = _nearest(_hashes(rest), _hashes(known), pairs_per_block)
    for own, (index, bits, count) in zip(rest, neighbours, strict=True):
        if count:
            twin = known[index]
            more = f", and {count - 1} more" if count > 1 else ""
            message = f"{own.uri} looks like {twin.uri} of the other split ({bits} of 64 bits differ{more})"
            defects.append(Defect(rule="leak-near", image=own.image, message=message, twin=twin.uri))
    return defects


def _hashes(prints: Sequence[Print]) -> NDArray[np.uint64]:
    return np.array([p.difference_hash for p in prints], dtype=np.uint64)


def _nearest(own: NDArray[np.uint64], others: NDArray[np.uint64], pairs_per_block: int) -> list[tuple[int, int, int]]:
    """For each of `own`: index and distance of the nearest of `others`, and how many are within `NEAR`."""
    if not len(others):
        return [(0, 64, 0)] * len(own)
    neighbours: list[tuple[int, int, int]] = []
    rows = max(1, pairs_per_block // len(others))
    for first in range(0, len(own), rows):
        bits = np.bitwise_count(own[first : first + rows, None] ^ others)
        within = (bits <= NEAR).sum(1)
        neighbours += zip(bits.argmin(1).tolist(), bits.min(1).tolist(), within.tolist(), strict=True)
    return neighbours
