"""One source as two splits: which images are val's, and whether both splits have any."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from aunet.errors import InputError
from pipelines.data.importing.record import ImportItem

WHOLE = 2**64
"""Positions of names: val has the images below `share * WHOLE`."""


def splits_of(items: Iterable[ImportItem], share: float, *, val: bool) -> Iterator[ImportItem]:
    """The items of one of two splits: `share` of all images are val's, which ones depends on their names alone."""
    return (item for item in items if (_position(item) < share * WHOLE) == val)


def check_val_share(items: Iterable[ImportItem], share: float, *, keep_void: bool, skip_broken: bool) -> None:
    """Refuse a share that leaves a split without an image that could be imported. Reads items until both have one.

    Raises:
        InputError: a split is empty and the other is not; the message names a share that leaves neither empty.
    """
    lowest, highest, number = WHOLE, -1, 0
    for item in items:
        if skip_broken if item.problem else item.entries is None and not keep_void:
            continue
        position = _position(item)
        lowest, highest, number = min(lowest, position), max(highest, position), number + 1
        if lowest < share * WHOLE <= highest:
            return
    if not number:
        return
    empty = "val" if lowest >= share * WHOLE else "train"
    cure = "add images, or leave it out"
    if lowest < highest:
        cure = f"give --val-share {_share_between(lowest, highest, is_lowest=empty == 'val')}, or add images"
    images = "1 annotated image" if number == 1 else f"{number} annotated images"
    raise InputError(f"--val-share {share}: of {images}, whose names decide, none would be in {empty}; {cure}")


def _share_between(lowest: int, highest: int, *, is_lowest: bool) -> str:
    """A share above `lowest` and not above `highest`, with as few digits as possible: the smallest or the largest."""
    digits = 1
    while True:
        first, last = lowest * 10**digits // WHOLE + 1, highest * 10**digits // WHOLE
        if first <= last:
            return f"{(first if is_lowest else last) / 10**digits:.{digits}f}"
        digits += 1


def _position(item: ImportItem) -> int:
    """0 … `WHOLE` - 1, by a hash of the name."""
    digest = hashlib.sha256(b"split " + item.file_name.encode(errors="replace")).digest()
    return int.from_bytes(digest[:8], "big")
