"""Folders and S3 behind one set of functions; the only module that knows there is a difference.

A URI is a path, `file:///path` or `s3://bucket/prefix`. S3 takes its credentials from the usual AWS sources,
its endpoint from AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, its region from AWS_REGION or AWS_DEFAULT_REGION;
credentials are never written anywhere. `s3` makes the requests, `retries` says how often they are repeated.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from aunet.errors import InputError
from pipelines.retries import patiently
from pipelines.s3 import (
    PART,
    RemoteFile,
    get_object,
    put_if_absent,
    put_object,
    s3_credentials as s3_credentials,
    s3_endpoint as s3_endpoint,
    s3_filesystem,
    s3_region,
)

if TYPE_CHECKING:
    from pyarrow import NativeFile
    from pyarrow.fs import FileSystem

T = TypeVar("T")

TRANSFERS = 8
"""Files of a folder that are copied at a time."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One file of a listing."""

    path: str
    """Relative to the listed folder, with `/`."""
    size: int
    """Bytes."""
    modified: int
    """Nanoseconds since 1970."""


def store_root() -> str:
    """Root of all that the stages write: AUNET_STORE, else `store` in the working directory; absolute."""
    return absolute(os.environ.get("AUNET_STORE") or "store")


def absolute(uri: str) -> str:
    """The same place, named so that other processes find it too."""
    return uri.rstrip("/") if _is_remote(uri) else str(Path(uri.removeprefix("file://")).absolute())


def join(uri: str, *parts: str) -> str:
    """`uri` with `parts` appended, one `/` between each; empty parts are left out."""
    return "/".join([uri.rstrip("/"), *(p.strip("/") for p in parts if p.strip("/"))])


def filesystem(uri: str) -> tuple[FileSystem, str]:
    """The pyarrow file system of `uri` and the path in it.

    Raises:
        InputError: a scheme other than `file` and `s3`.
    """
    if uri.startswith("s3://"):
        return s3_filesystem(s3_endpoint(), s3_region()), uri.removeprefix("s3://").rstrip("/")
    if _is_remote(uri):
        raise InputError(f"{uri}: unknown scheme; give a folder or s3://bucket/prefix")
    from pyarrow.fs import LocalFileSystem

    return LocalFileSystem(), absolute(uri)


def exists(uri: str) -> bool:
    """Whether there is a file or folder at `uri`."""
    from pyarrow.fs import FileType

    system, path = filesystem(uri)
    return _patiently(uri, lambda: system.get_file_info(path)).type != FileType.NotFound


def read_bytes(uri: str) -> bytes:
    """The whole content of a file.

    Raises:
        InputError: no such file.
        Unavailable: the server does not answer, or refuses; so with all functions below.
    """
    _, path = filesystem(uri)
    try:
        return get_object(uri)[0] if _is_remote(uri) else Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise InputError(f"{uri}: no such file; put it there or correct the path") from None


def open_file(uri: str) -> NativeFile:
    """A file for random access, such as Parquet: of S3 only the spans are fetched that are read, each complete.

    Raises:
        FileNotFoundError: no such file.
    """
    import pyarrow as pa

    system, path = filesystem(uri)
    return pa.PythonFile(RemoteFile(uri), mode="r") if _is_remote(uri) else system.open_input_file(path)


def write_bytes(uri: str, data: bytes) -> None:
    """Write a file in one step: readers see the old content or the new, never a part."""
    _, path = filesystem(uri)
    if _is_remote(uri):
        put_object(uri, io.BytesIO(data))
        return
    with _temporary(Path(path), data) as temporary:
        os.replace(temporary, path)


def create_exclusive(uri: str, data: bytes) -> bool:
    """Write a file only if there is none yet, also against others who try at the same moment.

    Swift does not decide between two who come at once; it is waited for there and read back.

    Returns:
        Whether this call wrote it; False: it was there already, and was not touched.
    """
    if _is_remote(uri):
        return put_if_absent(uri, data)
    path = Path(filesystem(uri)[1])
    with _temporary(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def list_files(uri: str) -> list[FileInfo]:
    """All files below a folder, sorted by path; temporary files of `write_bytes` are left out.

    Raises:
        InputError: no such folder.
    """
    from pyarrow.fs import FileSelector, FileType

    system, path = filesystem(uri)
    try:
        entries = _patiently(uri, lambda: system.get_file_info(FileSelector(path, recursive=True)))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{uri}: no such folder; create it or correct the path") from None
    files = [
        FileInfo(e.path[len(path) :].lstrip("/"), e.size, e.mtime_ns)
        for e in entries
        if e.type == FileType.File and not _is_temporary(e.base_name)
    ]
    return sorted(files, key=lambda f: f.path)


def list_folders(uri: str) -> list[str]:
    """Names of the folders directly below a folder, sorted; none where there is no such folder."""
    from pyarrow.fs import FileSelector, FileType

    system, path = filesystem(uri)
    entries = _patiently(uri, lambda: system.get_file_info(FileSelector(path, allow_not_found=True)))
    return sorted(entry.base_name for entry in entries if entry.type == FileType.Directory)


def delete(uri: str) -> None:
    """Remove a file, or a folder with all that is in it; nothing happens when there is none."""
    from pyarrow.fs import FileType

    system, path = filesystem(uri)

    def remove() -> None:
        kind = system.get_file_info(path).type
        if kind == FileType.Directory:
            system.delete_dir(path)
        elif kind == FileType.File:
            system.delete_file(path)

    _patiently(uri, remove)


def upload_folder(local: Path, uri: str) -> None:
    """Copy all files of a local folder to `uri`. Not one step: commit by a file written afterwards."""

    def send(path: Path) -> None:
        target = join(uri, path.relative_to(local).as_posix())
        if not _is_remote(uri):  # contents only: a temporary folder's mode would lock other users out
            Path(absolute(target)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, absolute(target))
            return
        with open(path, "rb") as content:
            put_object(target, content)

    with ThreadPoolExecutor(TRANSFERS) as pool:
        list(pool.map(send, [path for path in local.rglob("*") if path.is_file()]))


def download_folder(uri: str, local: Path) -> None:
    """Copy all files below `uri` into a local folder.

    Raises:
        InputError: no such folder.
    """
    if not exists(uri):
        raise InputError(f"{uri}: no such folder; create it or correct the path")
    local.mkdir(parents=True, exist_ok=True)
    if not _is_remote(uri):
        shutil.copytree(absolute(uri), local, dirs_exist_ok=True)
        return

    def fetch(file: FileInfo) -> None:
        target = local / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "wb") as out:
            for first in range(0, file.size, PART):
                last = min(first + PART, file.size) - 1
                out.write(get_object(join(uri, file.path), f"bytes={first}-{last}")[0])

    with ThreadPoolExecutor(TRANSFERS) as pool:
        list(pool.map(fetch, list_files(uri)))


@contextlib.contextmanager
def local_folder(uri: str) -> Iterator[Path]:
    """A folder of this machine to read `uri` from: itself, or a copy that is gone afterwards.

    Raises:
        InputError: no such folder.
    """
    if not _is_remote(uri) and exists(uri):
        yield Path(absolute(uri))
        return
    with tempfile.TemporaryDirectory() as folder:
        download_folder(uri, Path(folder))
        yield Path(folder)


def rename_folder(source: Path, target: Path) -> bool:
    """Give a finished local folder its name in one step; False, and `source` removed, when the name is taken."""
    try:
        os.rename(source, target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(source)
        return False
    return True


@contextlib.contextmanager
def _temporary(path: Path, data: bytes) -> Iterator[Path]:
    """A file with `data` beside `path`, gone afterwards."""
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


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


def _is_remote(uri: str) -> bool:
    return "://" in uri and not uri.startswith("file://")


def _patiently(uri: str, operation: Callable[[], T]) -> T:
    """`retries.patiently` where a server is asked; a folder's errors stay what they are."""
    return patiently(uri, s3_endpoint(), operation) if _is_remote(uri) else operation()
