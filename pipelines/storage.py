"""Folders and S3 behind one set of functions; the only module that knows there is a difference.

A URI is a path, `file:///path` or `s3://bucket/prefix`. S3 takes its credentials from the usual AWS sources,
its endpoint from AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, its region from AWS_REGION or AWS_DEFAULT_REGION;
credentials are never written anywhere.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aunet.errors import InputError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

T = TypeVar("T")

MAX_ATTEMPTS = 10
"""Attempts per request to S3, with exponential waits between."""
CHUNK = 32 * 2**20
"""Bytes per request when folders are copied."""


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


def s3_endpoint() -> str:
    """Address of the S3 API server; empty: Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def s3_credentials() -> str | None:
    """Where the keys for S3 are found, such as `env` or `iam-role`, never the keys; None: nowhere."""
    import boto3

    found = boto3.Session().get_credentials()
    return found.method if found else None


def filesystem(uri: str) -> tuple[FileSystem, str]:
    """The pyarrow file system of `uri` and the path in it.

    Raises:
        InputError: a scheme other than `file` and `s3`.
    """
    if uri.startswith("s3://"):
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
        return _s3(s3_endpoint(), region), uri.removeprefix("s3://").rstrip("/")
    if _is_remote(uri):
        raise InputError(f"{uri}: unknown scheme; give a folder or s3://bucket/prefix")
    from pyarrow.fs import LocalFileSystem

    return LocalFileSystem(), absolute(uri)


def exists(uri: str) -> bool:
    """Whether there is a file or folder at `uri`."""
    from pyarrow.fs import FileType

    system, path = filesystem(uri)
    return system.get_file_info(path).type != FileType.NotFound


def read_bytes(uri: str) -> bytes:
    """The whole content of a file.

    Raises:
        InputError: no such file.
    """
    system, path = filesystem(uri)

    def read() -> bytes:
        with system.open_input_file(path) as file:
            return file.read(file.size())  # one request; without the size it is one for every 256 KB

    try:
        return _unspoiled(read)
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{uri}: no such file; put it there or correct the path") from None


def write_bytes(uri: str, data: bytes) -> None:
    """Write a file in one step: readers see the old content or the new, never a part."""
    system, path = filesystem(uri)
    if _is_remote(uri):
        with system.open_output_stream(path) as stream:
            stream.write(data)
        return
    with _temporary(Path(path), data) as temporary:
        os.replace(temporary, path)


def create_exclusive(uri: str, data: bytes) -> bool:
    """Write a file only if there is none yet, also against others who try at the same moment.

    Returns:
        Whether this call wrote it; False: it was there already, and was not touched.
    """
    if _is_remote(uri):
        return _put_if_absent(uri, data)
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
        entries = system.get_file_info(FileSelector(path, recursive=True))
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
    entries = system.get_file_info(FileSelector(path, allow_not_found=True))
    return sorted(entry.base_name for entry in entries if entry.type == FileType.Directory)


def delete(uri: str) -> None:
    """Remove a file, or a folder with all that is in it; nothing happens when there is none."""
    from pyarrow.fs import FileType

    system, path = filesystem(uri)
    kind = system.get_file_info(path).type
    if kind == FileType.Directory:
        system.delete_dir(path)
    elif kind == FileType.File:
        system.delete_file(path)


def upload_folder(local: Path, uri: str) -> None:
    """Copy all files of a local folder to `uri`. Not one step: commit by a file written afterwards."""
    from pyarrow.fs import LocalFileSystem, copy_files

    system, path = filesystem(uri)
    if not _is_remote(uri):
        system.create_dir(path, recursive=True)
    copy_files(str(local.absolute()), path, LocalFileSystem(), system, chunk_size=CHUNK)


def download_folder(uri: str, local: Path) -> None:
    """Copy all files below `uri` into a local folder.

    Raises:
        InputError: no such folder.
    """
    from pyarrow.fs import LocalFileSystem, copy_files

    if not exists(uri):
        raise InputError(f"{uri}: no such folder; create it or correct the path")
    system, path = filesystem(uri)
    local.mkdir(parents=True, exist_ok=True)
    _unspoiled(lambda: copy_files(path, str(local.absolute()), system, LocalFileSystem(), chunk_size=CHUNK))


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


def _unspoiled(read: Callable[[], T]) -> T:
    """Repeat a read that pyarrow spoils: where an error's text is longer than the file, its own retry succeeds and
    then finds no room for the file."""
    for _ in range(MAX_ATTEMPTS - 1):
        try:
            return read()
        except OSError as error:
            if "flush response stream" not in str(error):
                raise
    return read()


@lru_cache(maxsize=8)
def _s3(endpoint: str, region: str) -> FileSystem:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    class Bucket(S3FileSystem):
        """Pickled by its address alone: pyarrow's own pickle forgets the retries, and this one holds no key."""

        def __reduce__(self) -> tuple[Any, ...]:
            return _s3, (endpoint, region)

    scheme, _, host = endpoint.rpartition("://")
    return Bucket(
        endpoint_override=host or None,
        scheme=scheme or "https",
        region=region or ("us-east-1" if endpoint else None),
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=MAX_ATTEMPTS),
        connect_timeout=10,
        request_timeout=60,
        allow_delayed_open=True,  # one request for a small file, not three
    )


def _put_if_absent(uri: str, data: bytes) -> bool:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    retries = Config(retries={"mode": "standard", "max_attempts": MAX_ATTEMPTS})
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    client = boto3.client("s3", region_name=region, config=retries)
    writer = uuid.uuid4().hex
    try:
        client.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*", Metadata={"writer": writer})
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in (
            "PreconditionFailed",
            "ConditionalRequestConflict",
        ):
            raise
        # A retry after a lost answer meets this call's own object: the writer tells.
        return client.head_object(Bucket=bucket, Key=key)["Metadata"].get("writer") == writer
    return True
