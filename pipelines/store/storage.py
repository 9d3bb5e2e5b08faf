"""Folders and S3 behind one set of functions; the only module that knows there is a difference.

A URI is a path, `file:///path` or `s3://bucket/prefix`; `uris` refuses everything else. S3 gets its credentials from
the usual AWS sources, its endpoint from AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, its region from AWS_REGION or
AWS_DEFAULT_REGION; credentials are never written anywhere. `folder` and `s3` do the work; `retries` defines how often a
request is repeated.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aunet.errors import InputError
from aunet.names import inner_path
from pipelines.store import folder
from pipelines.store.uris import check_uri

if TYPE_CHECKING:  # reading a folder does without pyarrow, which takes as long to load as to score fifty images
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

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, name) for name in self.__slots__)  # faster than dataclass pickles


class Backend(Protocol):
    """What folders and S3 do differently: the functions of the modules `folder` and `s3`."""

    def filesystem(self, uri: str) -> tuple[FileSystem, str]: ...
    def repeated(self, uri: str, operation: Callable[[], T]) -> T: ...
    def read_bytes(self, uri: str) -> bytes: ...
    def read_settled(self, uri: str) -> bytes: ...
    def open_file(self, uri: str) -> NativeFile: ...
    def write_bytes(self, uri: str, data: bytes) -> None: ...
    def create_exclusive(self, uri: str, data: bytes) -> bool: ...
    def upload_file(self, local: Path, uri: str) -> None: ...
    def download_file(self, uri: str, size: int, local: Path) -> None: ...
    def entries(self, uri: str, follow_links: bool) -> Iterable[tuple[str, int, int]]: ...
    def folders(self, uri: str, follow_links: bool) -> list[str]: ...
    def delete(self, uri: str) -> None: ...


def store_root() -> str:
    """Root of all that the stages write: AUNET_STORE, else `store` in the working directory; absolute.

    Raises:
        InputError: AUNET_STORE is not a folder or URI.
    """
    try:
        return absolute(os.environ.get("AUNET_STORE") or "store")
    except InputError as error:
        raise InputError(f"AUNET_STORE = {error}") from None


def absolute(uri: str) -> str:
    """The same location, named so that other processes find it too.

    Raises:
        InputError: as for `check_uri`; so with all functions below.
    """
    return check_uri(uri).rstrip("/") if is_remote(uri) else str(folder.to_path(uri))


def is_uri(text: str) -> bool:
    """Whether `text` is a URI with a scheme, not a path or a name."""
    return "://" in text


def is_remote(uri: str) -> bool:
    """Whether `uri` names a server, so that every machine finds the same there."""
    return is_uri(uri) and not uri.startswith("file://")


def is_s3(uri: str) -> bool:
    """Whether `uri` names a bucket."""
    return uri.startswith("s3://")


def parent(uri: str) -> str:
    """The folder that holds `uri`."""
    return uri.rstrip("/").rpartition("/")[0]


def join(uri: str, *parts: str) -> str:
    """`uri` with `parts` appended, one `/` between each; empty parts are left out.

    Raises:
        InputError: `uri` is empty, or a part leaves it or cannot be the name of a file.
    """
    if not uri:
        raise InputError("'': an empty folder; name one, '.' for the working directory")
    names = [name.rstrip("/") or name[:1] for name in parts if name]
    return "/".join([uri.rstrip("/"), *(_inner(uri, name) for name in names)])


def _inner(uri: str, name: str) -> str:
    """`name`, which is a path below `uri`."""
    try:
        return inner_path(name)
    except ValueError as error:
        raise InputError(f"{uri}: {error}; use the relative path of something below this folder") from None


def filesystem(uri: str) -> tuple[FileSystem, str]:
    """The pyarrow file system of `uri` and the path in it."""
    return _backend(uri).filesystem(uri)


def exists(uri: str) -> bool:
    """Whether there is a file or folder at `uri`.

    Raises:
        Unavailable: the server does not answer, or refuses; so with all functions below.
    """
    backend = _backend(uri)
    system, path = backend.filesystem(uri)
    return backend.repeated(uri, lambda: system.get_file_info(path)).type.name != "NotFound"


def read_bytes(uri: str) -> bytes:
    """The whole content of a file.

    Raises:
        InputError: no such file.
    """
    return _existing(uri, _backend(uri).read_bytes)


def read_settled(uri: str) -> bytes:
    """The content of a file that `create_exclusive` wrote, once no other call can replace it any more.

    Raises:
        InputError: no such file.
    """
    return _existing(uri, _backend(uri).read_settled)


def _existing(uri: str, read: Callable[[str], bytes]) -> bytes:
    try:
        return read(uri)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise InputError(f"{uri}: no such file; put it there or correct the path") from None


def open_file(uri: str) -> NativeFile:
    """A file for random access, such as Parquet: of S3 only the spans are fetched that are read, each complete.

    Raises:
        FileNotFoundError: no such file.
    """
    return _backend(uri).open_file(uri)


def write_bytes(uri: str, data: bytes) -> None:
    """Write a file in one step: readers see the old content or the new, never a part."""
    _backend(uri).write_bytes(uri, data)


def create_exclusive(uri: str, data: bytes) -> bool:
    """Write a file only if there is none yet, also against others who try at the same moment.

    Swift may let several of them succeed; there the file is read back after a while.

    Returns:
        Whether this call wrote it; False: it existed already and was not touched.
    """
    return _backend(uri).create_exclusive(uri, data)


def list_files(uri: str, *, follow_links: bool = True) -> list[FileInfo]:
    """All files below a folder, sorted by path; no pipes, sockets, devices and temporary files of `write_bytes`.

    Args:
        follow_links: also into links to folders, each folder once; False: no file is listed that is a link, or behind
            one.

    Raises:
        InputError: no such folder, or a file has a name that leaves the folder or cannot be printed.
    """
    return sorted(each_file(uri, follow_links=follow_links), key=lambda f: f.path)


def each_file(uri: str, *, follow_links: bool = True) -> Iterator[FileInfo]:
    """The files that `list_files` gives, in any order; of a local folder, without holding them all in memory.

    Raises:
        InputError: as `list_files`.
    """
    try:
        for path, size, modified in _backend(uri).entries(uri, follow_links):
            yield FileInfo(_inner(uri, path), size, modified)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{uri}: no such folder; create it or correct the path") from None


def list_folders(uri: str, *, follow_links: bool = True) -> list[str]:
    """Names of the folders directly below a folder, sorted; none where there is no such folder.

    Args:
        follow_links: False: no links to folders.

    Raises:
        InputError: a folder has a name that leaves `uri` or cannot be printed.
    """
    return sorted(_inner(uri, name) for name in _backend(uri).folders(uri, follow_links))


def delete(uri: str) -> None:
    """Remove a file, or a folder with all that is in it; of a link, the link; nothing happens when there is none."""
    _backend(uri).delete(uri)


def upload_folder(local: Path, uri: str) -> None:
    """Copy all files of a local folder to `uri`. Not one step: commit by a file written afterwards."""

    def send(path: Path) -> None:
        _backend(uri).upload_file(path, join(uri, path.relative_to(local).as_posix()))

    with ThreadPoolExecutor(TRANSFERS) as pool:
        list(pool.map(send, [path for path in local.rglob("*") if path.is_file()]))


def download_folder(uri: str, local: Path) -> None:
    """Copy all files below `uri` into a local folder.

    Raises:
        InputError: no such folder, or one of its files has a name that leaves it.
    """

    def fetch(file: FileInfo) -> None:
        with folder.beside(local / file.path) as temporary:
            _backend(uri).download_file(join(uri, file.path), file.size, temporary)
            os.replace(temporary, local / file.path)

    files = list_files(uri)
    local.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(TRANSFERS) as pool:
        list(pool.map(fetch, files))


@contextlib.contextmanager
def local_folder(uri: str) -> Iterator[Path]:
    """A folder of this machine to read `uri` from: itself, or a copy that is removed afterwards.

    Raises:
        InputError: no such folder.
    """
    if not is_remote(uri) and exists(uri):
        yield folder.to_path(uri)
        return
    with tempfile.TemporaryDirectory() as scratch:
        download_folder(uri, Path(scratch))
        yield Path(scratch)


def rename_folder(source: Path, target: Path) -> bool:
    """Give a finished local folder its name in one step; False, and `source` removed, when the name is in use."""
    try:
        os.rename(source, target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(source)
        return False
    return True


def _backend(uri: str) -> Backend:
    if not is_s3(check_uri(uri)):
        return folder
    from pipelines.store import s3  # boto3 takes 0.4 s to import, which a store in a folder does without

    return s3
