"""Results of several files that appear whole: written under a temporary name first, then renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from pipelines.store import folder, storage


@contextlib.contextmanager
def staged(uri: str, last: str) -> Iterator[str]:
    """A URI to write files below; they are below `uri` when the block ends without an error.

    In a folder they are written to a folder inside `uri` with a temporary name, and renamed when all are there. After
    an error `uri` is as it was. An object store shows each object as soon as it is whole: write `last` last; that of an
    earlier result is deleted before anything is written.

    Args:
        last: name of the file that says that the others are complete.
    """
    if storage.is_remote(uri):
        storage.delete(storage.join(uri, last))
        yield uri
        return
    target = folder.to_path(uri)
    new = [path for path in (target, *target.parents) if not path.exists()]
    temporary = target / f".{uuid.uuid4().hex[:12]}.tmp"
    is_moved = False
    try:
        temporary.mkdir(parents=True)
        yield str(temporary)
        _move_files(temporary, target, last)
        is_moved = True
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for path in () if is_moved else new:
            with contextlib.suppress(OSError):
                path.rmdir()


def _move_files(source: Path, target: Path, last: str) -> None:
    """Rename all files below `source`; nothing is, where one of them cannot be."""
    files = sorted((path for path in source.rglob("*") if path.is_file()), key=lambda path: (path.name == last, path))
    moves = [(path, target / path.relative_to(source)) for path in files]
    for _, path in moves:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(21, "Is a directory", str(path))
    for old, path in moves:
        os.replace(old, path)
