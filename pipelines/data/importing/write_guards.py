"""Where an import may write: never where it reads, and never over files that it did not write."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from itertools import product

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.panoptic_folder import PanopticFolder

STARTED = "started"
"""File in the folder of the parts: what is in the folders of images and maps was written by this import."""


def check_outside(out: str, source: str) -> None:
    """Refuse an `out` below what is read: the next call would read what this one wrote.

    Raises:
        InputError: it is the source, or below it.
    """
    if _is_below(_real(out), _real(source)):
        raise InputError(f"--out {out}: is inside {source}, which is read; name a folder beside it")


def check_apart(folder: PanopticFolder, read: Iterable[str]) -> None:
    """Refuse to write where images, masks or maps are read: files of the source would be replaced.

    Args:
        folder: to be written.
        read: the folders of the source.

    Raises:
        InputError: a folder to be written is one of `read`, lies in it or holds it, links followed.
    """
    for written, source in product((folder.images_uri, folder.maps_uri, folder.parts_uri), read):
        target, origin = _real(written), _real(source)
        if _is_below(target, origin) or _is_below(origin, target):
            relation = "is" if target == origin else "lies in" if _is_below(target, origin) else "holds"
            raise InputError(
                f"--out {folder.uri} --split {folder.split}: would write into {written}, which {relation} {source}, "
                "which is read; give another --out or --split"
            )


def claim(folder: PanopticFolder) -> None:
    """Note that an import writes this split, so that a later call goes on; nothing where this was noted before.

    Raises:
        InputError: the folders of its images or maps hold files that are not of an import.
    """
    if storage.exists(folder.parts_uri):
        return
    for uri in (folder.images_uri, folder.maps_uri):
        if storage.exists(uri) and (file := next(iter(storage.each_file(uri)), None)) is not None:
            raise InputError(
                f"{uri}: holds {file.path}, and no unfinished import is known that wrote it; give another --out or "
                "--split, or delete the folder if an earlier import left it"
            )
    storage.write_bytes(storage.join(folder.parts_uri, STARTED), b"")


def _real(uri: str) -> str:
    """The location, links resolved."""
    location = storage.absolute(uri)
    return posixpath.normpath(location) if storage.is_remote(uri) else os.path.realpath(location)


def _is_below(location: str, folder: str) -> bool:
    """Whether `location` is `folder` or below it."""
    return f"{location}/".startswith(f"{folder.rstrip('/')}/")
