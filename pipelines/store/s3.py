"""Requests to an S3 API server: the only module that knows boto3.

boto3 reads and writes. pyarrow asks for the size of a file before it reads: where that answer is cut off it returns a
part without an error. A write of pyarrow that fails may leave an empty file, and its `copy_files` does not report one.
pyarrow lists and deletes, and Ray uses its file system.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
import uuid
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from botocore.parsers import ResponseParserError
from pyarrow import NativeFile, PythonFile
from pyarrow.fs import FileSelector, FileSystem, FileType

from pipelines.store.addresses import check_server
from pipelines.store.remote_file import RemoteFile
from pipelines.store.retries import CONNECT_TIMEOUT, PASSING_CODES, REQUEST_TIMEOUT, Passing, patiently
from pipelines.store.s3_filesystem import s3_filesystem

T = TypeVar("T")

CONNECTIONS = 32
"""Connections that are kept open."""
SETTLE_SECONDS = 2.0
"""Wait before reading back what Swift reports as created: it may report so to several at one moment; the last stays."""
_SWIFT = "x-openstack-request-id"
"""Header of Swift's answers."""
PART = 32 * 2**20
"""Bytes: larger files are written and read in parts of that size."""


def endpoint() -> str:
    """Address of the S3 API server; empty: Amazon's.

    Raises:
        InputError: it is not the address of a server, or holds credentials; these are not repeated.
    """
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if uri := os.environ.get(name):
            return check_server(name, uri)
    return ""


def region() -> str:
    """Region of the requests; empty: not set."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""


def address() -> str:
    """URL of the S3 API server, Amazon's included."""
    return endpoint() or f"https://s3.{region() or 'us-east-1'}.amazonaws.com"


def credentials_source() -> str | None:
    """Where the keys for S3 are found, such as `env` or `iam-role`, never the keys; None: nowhere."""
    credentials = boto3.Session().get_credentials()
    return credentials.method if credentials else None


def filesystem(uri: str) -> tuple[FileSystem, str]:
    """pyarrow's file system and the path in it."""
    return s3_filesystem(endpoint(), region()), uri.removeprefix("s3://").rstrip("/")


def repeated(uri: str, operation: Callable[[], T]) -> T:
    """The result of an operation of pyarrow's file system, repeated as long as that may help."""
    return patiently(uri, endpoint(), operation)


def read_bytes(uri: str) -> bytes:
    """The content of an object."""
    return get_object(uri)[0]


def read_settled(uri: str) -> bytes:
    """The content of an object; of one that Swift may still replace by another's, once it cannot, by its own clock."""
    while True:
        content, answer = get_object(uri)
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        if _SWIFT not in headers:
            return content
        age = parsedate_to_datetime(headers["date"]) - answer["LastModified"]
        if age.total_seconds() > SETTLE_SECONDS:
            return content
        time.sleep(SETTLE_SECONDS / 4)


def open_file(uri: str) -> NativeFile:
    """An object for random access."""
    return PythonFile(RemoteFile(partial(get_object, uri)), mode="r")


def write_bytes(uri: str, data: bytes) -> None:
    """Write an object in one step."""
    put_object(uri, io.BytesIO(data))


def upload_file(local: Path, uri: str) -> None:
    """Write a file's content in one step."""
    with open(local, "rb") as content:
        put_object(uri, content)


def download_file(uri: str, size: int, local: Path) -> None:
    """Write an object of `size` bytes into a file, part by part."""
    with open(local, "wb") as out:
        for first in range(0, size, PART):
            out.write(get_object(uri, f"bytes={first}-{min(first + PART, size) - 1}")[0])


def entries(uri: str, follow_links: bool) -> list[tuple[str, int, int]]:
    """Relative key, bytes and time in nanoseconds of the objects below a prefix; there are no links."""
    system, path = filesystem(uri)
    listed = repeated(uri, lambda: system.get_file_info(FileSelector(path, recursive=True)))
    return [(e.path[len(path) + 1 :], e.size, e.mtime_ns) for e in listed if e.type == FileType.File]


def folders(uri: str, follow_links: bool) -> list[str]:
    """Names of the prefixes directly below one; none where there is no such prefix."""
    system, path = filesystem(uri)
    listed = repeated(uri, lambda: system.get_file_info(FileSelector(path, allow_not_found=True)))
    names = [e.path[len(path) + 1 :] for e in listed if e.type == FileType.Directory]
    return [name for name in names if name]  # none where a key has two slashes


def delete(uri: str) -> None:
    """Remove an object, or all below a prefix."""
    system, path = filesystem(uri)

    def remove() -> None:
        kind = system.get_file_info(path).type
        if kind == FileType.Directory:
            system.delete_dir(path)
        elif kind == FileType.File:
            system.delete_file(path)

    repeated(uri, remove)


@lru_cache(maxsize=8)
def _client(endpoint: str, region: str) -> Any:
    """boto3's client, for all threads; `patiently` repeats what fails, in one rhythm for the body too."""
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=REQUEST_TIMEOUT,
        retries={"total_max_attempts": 1},
        max_pool_connections=CONNECTIONS,
    )
    session = boto3.Session(region_name=region or "us-east-1")
    return session.client("s3", endpoint_url=endpoint or None, config=config)


def ask(uri: str, call: Callable[[Any, str, str], T]) -> T:
    """What `call` returns for boto3's client, the bucket and the key of `uri`, repeated until it succeeds."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")

    def attempt() -> T:
        try:
            return call(_client(endpoint(), region()), bucket, key)
        except ClientError as error:
            status, code = _status(error), error.response.get("Error", {}).get("Code")
            if code in PASSING_CODES:
                raise Passing(str(error)) from None
            no_bucket = code == "NoSuchBucket"
            kind = OSError if no_bucket else {404: FileNotFoundError, 416: EOFError}.get(status, OSError)
            raise kind(f"{error} (HTTP status {status})") from None
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise PermissionError(str(error)) from None
        except (BotoCoreError, ResponseParserError) as error:
            raise Passing(str(error)) from None
        except KeyError as error:
            raise Passing(f"the answer is cut off before {error}") from None

    return patiently(uri, endpoint(), attempt)


def get_object(uri: str, span: str = "") -> tuple[bytes, dict[str, Any]]:
    """An object, or a span of it such as `bytes=0-9`, and the server's answer; never a part of what was requested.

    Raises:
        FileNotFoundError: there is none.
        EOFError: it ends before the span begins.
        Unavailable: the server does not answer, or refuses; so with all functions here.
    """

    def get(client: Any, bucket: str, key: str) -> tuple[bytes, dict[str, Any]]:
        answer = client.get_object(Bucket=bucket, Key=key, **({"Range": span} if span else {}))
        body = answer["Body"].read()
        size = answer.get("ContentLength", "an unknown number of")
        if len(body) != size or (span and body and "ContentRange" not in answer):
            raise Passing(f"{len(body)} of {size} bytes came")
        return body, answer

    return ask(uri, get)


def put_object(uri: str, content: BinaryIO) -> None:
    """Write an object in one step, whatever its size."""
    content.seek(0)
    data = content.read(PART)
    if len(data) < PART:
        ask(uri, lambda client, bucket, key: client.put_object(Bucket=bucket, Key=key, Body=data))
        return
    writer = uuid.uuid4().hex
    upload = _begin(uri, writer)
    try:
        parts: list[dict[str, Any]] = []
        while data:
            parts.append(_put_part(uri, upload, len(parts) + 1, data))
            data = content.read(PART)
        _complete(uri, upload, parts, writer)
    except BaseException:
        with contextlib.suppress(Exception):
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            _client(endpoint(), region()).abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
        raise


def _begin(uri: str, writer: str) -> str:
    def begin(client: Any, bucket: str, key: str) -> str:
        return client.create_multipart_upload(Bucket=bucket, Key=key, Metadata={"writer": writer})["UploadId"]

    return ask(uri, begin)


def _put_part(uri: str, upload: str, number: int, data: bytes) -> dict[str, Any]:
    def put(client: Any, bucket: str, key: str) -> dict[str, Any]:
        answer = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data)
        return {"ETag": answer["ETag"], "PartNumber": number}

    return ask(uri, put)


def _complete(uri: str, upload: str, parts: list[dict[str, Any]], writer: str) -> None:
    def complete(client: Any, bucket: str, key: str) -> str:
        listing = {"Parts": parts}
        answer = client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload=listing)
        return answer["ETag"]

    try:
        ask(uri, complete)
    except FileNotFoundError:  # no such upload: it was completed, and the answer lost
        if _writer(uri) != writer:
            raise


def create_exclusive(uri: str, data: bytes) -> bool:
    """Write an object unless there is one; whether this call did. Swift may let several: there it is read back."""
    writer = uuid.uuid4().hex

    def put(client: Any, bucket: str, key: str) -> tuple[bool, dict[str, Any]]:
        try:
            answer = client.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*", Metadata={"writer": writer})
        except ClientError as error:
            if _status(error) != 412:
                raise
            return False, error.response["ResponseMetadata"]
        return True, answer["ResponseMetadata"]

    created, answer = ask(uri, put)
    swift = _SWIFT in answer["HTTPHeaders"]
    if created and not swift:
        return True
    # A retry after a lost answer meets this call's own object: the writer tells.
    mine = _writer(uri) == writer
    if mine and swift:
        time.sleep(SETTLE_SECONDS)
        mine = _writer(uri) == writer
    return mine


def _writer(uri: str) -> str | None:
    """Which call wrote an object, where its metadata tell."""
    try:
        _, answer = get_object(uri, "bytes=0-0")
    except EOFError:  # it is empty
        _, answer = get_object(uri)
    return answer["Metadata"].get("writer")


def _status(error: Any) -> int:
    """HTTP status of a `ClientError`: known even when the body that explains it is cut off."""
    return error.response["ResponseMetadata"]["HTTPStatusCode"]
