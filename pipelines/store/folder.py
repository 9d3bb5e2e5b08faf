"""Files of this machine: what `storage` does with a path or `file:///path`."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from aunet.errors import InputError
from pipelines.store.uris import check_uri

if TYPE_CHECKING:
    from pyarrow import NativeFile
    from pyarrow.fs import FileSystem

T = TypeVar("T")


def to_path(uri: str) -> Path:
    """The absolute path that `uri` names."""
    return Path(check_uri(uri).removeprefix("file://")).absolute()


def filesystem(uri: str) -> tuple[FileSystem, str]:
    """pyarrow's file system and the path in it."""
    from pyarrow.fs import LocalFileSystem  # reading and writing folders does without pyarrow

    return LocalFileSystem(), str(to_path(uri))


def repeated(uri: str, operation: Callable[[], T]) -> T:
    """The result of `operation`, done once: what fails here fails again."""
    return operation()


def read_bytes(uri: str) -> bytes:
    """The content of a file."""
    return _regular(uri).read_bytes()


def read_settled(uri: str) -> bytes:
    """The content of a regular file: what `create_exclusive` wrote is final."""
    return read_bytes(uri)


def open_file(uri: str) -> NativeFile:
    """A file for random access."""
    return filesystem(uri)[0].open_input_file(str(_regular(uri)))


def _regular(uri: str) -> Path:
    """The path of a file that can be read to its end: opening a pipe may block for ever."""
    path = to_path(uri)
    mode = path.stat().st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return path
    raise InputError(f"{uri}: a pipe, socket or device; name a regular file")


def write_bytes(uri: str, data: bytes) -> None:
    """Write a file under another name, then rename it."""
    path = to_path(uri)
    with beside(path) as temporary:
        _write(temporary, data)
        os.replace(temporary, path)


def create_exclusive(uri: str, data: bytes) -> bool:
    """Write a file under another name, then link it to its own, which fails where there is one."""
    path = to_path(uri)
    with beside(path) as temporary:
        _write(temporary, data)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def upload_file(local: Path, uri: str) -> None:
    """Copy the content of a file, not its mode: a temporary folder's would lock other users out."""
    path = to_path(uri)
    with beside(path) as temporary:
        with open(local, "rb") as source, open(temporary, "xb") as target:
            shutil.copyfileobj(source, target)
            _flush(target)
        os.replace(temporary, path)


def download_file(uri: str, size: int, local: Path) -> None:
    """Copy a file."""
    shutil.copy2(_regular(uri), local)


def entries(uri: str, follow_links: bool) -> Iterator[tuple[str, int, int]]:
    """Relative path, bytes and time in nanoseconds of the regular files below a folder, no temporary ones.

    Args:
        follow_links: also into links to folders, but into no folder twice: a link to one that is listed under its
            own name is left out.
    """
    waiting, links, seen = [(to_path(uri), "")], list[tuple[Path, str]](), set[tuple[int, int]]()
    while waiting or links:
        path, prefix = waiting.pop() if waiting else links.pop()
        try:
            status = path.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            children = os.scandir(path)
        except (FileNotFoundError, NotADirectoryError):
            if not prefix:
                raise
            continue  # removed since its folder was listed
        below: list[os.DirEntry[str]] = []
        with children:
            for child in children:
                if child.is_dir(follow_symlinks=follow_links):
                    below.append(child)
                elif child.is_file(follow_symlinks=follow_links) and not is_temporary(child.name):
                    with contextlib.suppress(FileNotFoundError):
                        status = child.stat(follow_symlinks=follow_links)
                        yield f"{prefix}{child.name}", status.st_size, status.st_mtime_ns
        for child in sorted(below, key=lambda entry: entry.name, reverse=True):
            (links if child.is_symlink() else waiting).append((Path(child.path), f"{prefix}{child.name}/"))


def folders(uri: str, follow_links: bool) -> list[str]:
    """Names of the folders directly below a folder; none where there is no such folder."""
    try:
        return [child.name for child in os.scandir(to_path(uri)) if child.is_dir(follow_symlinks=follow_links)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def delete(uri: str) -> None:
    """Remove a file or a folder; of a link, the link."""
    path = to_path(uri)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that is being written and has not been renamed yet."""
    return name.startswith(".") and name.endswith(".tmp")


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """The name of a temporary file beside `path`, whose folder exists from then on; it is removed afterwards.

    Errors of writing it name `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:12]}.tmp")
    try:
        yield temporary
    except OSError as error:
        names = [name for name in (error.filename, error.filename2) if name]
        if error.errno and (not names or str(temporary) in map(str, names)):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        _flush(file)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
