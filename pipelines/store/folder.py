"""Files of this machine: what `storage` does with a path or `file:///path`."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pyarrow import NativeFile
from pyarrow.fs import FileSystem, LocalFileSystem

T = TypeVar("T")


def to_path(uri: str) -> Path:
    """The absolute path that `uri` names."""
    return Path(uri.removeprefix("file://")).absolute()


def filesystem(uri: str) -> tuple[FileSystem, str]:
    """pyarrow's file system and the path in it."""
    return LocalFileSystem(), str(to_path(uri))


def repeated(uri: str, operation: Callable[[], T]) -> T:
    """The result of `operation`, done once: what fails here fails again."""
    return operation()


def read_bytes(uri: str) -> bytes:
    """The content of a file."""
    return to_path(uri).read_bytes()


def open_file(uri: str) -> NativeFile:
    """A file for random access."""
    return LocalFileSystem().open_input_file(str(to_path(uri)))


def write_bytes(uri: str, data: bytes) -> None:
    """Write a file under another name, then rename it."""
    path = to_path(uri)
    with _temporary(path, data) as temporary:
        os.replace(temporary, path)


def create_exclusive(uri: str, data: bytes) -> bool:
    """Write a file under another name, then link it to its own, which fails where there is one."""
    path = to_path(uri)
    with _temporary(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def upload_file(local: Path, uri: str) -> None:
    """Copy the content of a file, not its mode: a temporary folder's would lock other users out."""
    path = to_path(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(local, path)


def download_file(uri: str, size: int, local: Path) -> None:
    """Copy a file."""
    shutil.copy2(to_path(uri), local)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that `write_bytes` has not renamed yet."""
    return name.startswith(".") and name.endswith(".tmp")


@contextlib.contextmanager
def _temporary(path: Path, data: bytes) -> Iterator[Path]:
    """A file with `data` beside `path`, removed afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
