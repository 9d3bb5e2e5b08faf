"""Requests to an S3 API server: the only module that knows boto3.

boto3 reads and writes. pyarrow asks for the size of a file before it reads: where that answer is cut off it gives back
a part without an error. A write of pyarrow that fails may leave an empty file, and one of its `copy_files` is not told
at all. pyarrow lists and deletes, and Ray takes its file system.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from pipelines.retries import CONNECT_TIMEOUT, MAX_ATTEMPTS, REQUEST_TIMEOUT, Passing, patiently

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

T = TypeVar("T")

CONNECTIONS = 32
"""Connections that are kept open."""
SETTLE_SECONDS = 2.0
"""Wait before reading back what Swift says it has created: it may say so to several at one moment; the last stays."""
PART = 32 * 2**20
"""Bytes: what is larger is written in parts of that size."""
TAIL = 64 * 1024
"""Bytes of a file for random access that are fetched first: the end, where Parquet has its table of contents."""


def s3_endpoint() -> str:
    """Address of the S3 API server; empty: Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def s3_credentials() -> str | None:
    """Where the keys for S3 are found, such as `env` or `iam-role`, never the keys; None: nowhere."""
    import boto3

    found = boto3.Session().get_credentials()
    return found.method if found else None


def s3_region() -> str:
    """Region of the requests; empty: nothing says."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""


@lru_cache(maxsize=8)
def s3_filesystem(endpoint: str, region: str) -> FileSystem:
    """pyarrow's file system; the last 8 are kept.

    Args:
        endpoint: address of the server; empty: Amazon's.
        region: empty: the bucket's own, or us-east-1 at another's server.
    """
    from pyarrow.fs import AwsDefaultS3RetryStrategy, S3FileSystem

    class Bucket(S3FileSystem):
        """Pickled by its address alone: pyarrow's own pickle forgets the retries, and this one holds no key."""

        def __reduce__(self) -> tuple[Any, ...]:
            return s3_filesystem, (endpoint, region)

    scheme, _, host = endpoint.rpartition("://")
    return Bucket(
        endpoint_override=host or None,
        scheme=scheme or "https",
        region=region or ("us-east-1" if endpoint else None),
        # The standard strategy has 100 retries for the life of a process: pyarrow never gives one back.
        retry_strategy=AwsDefaultS3RetryStrategy(max_attempts=MAX_ATTEMPTS),
        connect_timeout=CONNECT_TIMEOUT,
        request_timeout=REQUEST_TIMEOUT,
        allow_delayed_open=True,  # one request for a small file, not three
    )


@lru_cache(maxsize=8)
def _client(endpoint: str, region: str) -> Any:
    """boto3's client, for all threads; `patiently` repeats what fails, in one rhythm for the body too."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=REQUEST_TIMEOUT,
        retries={"total_max_attempts": 1},
        max_pool_connections=CONNECTIONS,
    )
    session = boto3.Session(region_name=region or "us-east-1")
    return session.client("s3", endpoint_url=endpoint or None, config=config)


def _ask(uri: str, call: Callable[[Any, str, str], T]) -> T:
    """What `call` gives for boto3's client, the bucket and the key of `uri`, asked until it succeeds."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
    from botocore.parsers import ResponseParserError

    bucket, _, key = uri.removeprefix("s3://").partition("/")

    def attempt() -> T:
        try:
            return call(_client(s3_endpoint(), s3_region()), bucket, key)
        except ClientError as error:
            status = _status(error)
            no_bucket = error.response.get("Error", {}).get("Code") == "NoSuchBucket"
            kind = OSError if no_bucket else {404: FileNotFoundError, 416: EOFError}.get(status, OSError)
            raise kind(f"{error} (HTTP status {status})") from None
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise PermissionError(str(error)) from None
        except (BotoCoreError, ResponseParserError) as error:
            raise Passing(str(error)) from None
        except KeyError as error:
            raise Passing(f"the answer is cut off before {error}") from None

    return patiently(uri, s3_endpoint(), attempt)


def get_object(uri: str, span: str = "") -> tuple[bytes, dict[str, Any]]:
    """An object, or a span of it such as `bytes=0-9`, and what the server says of it; never a part of what was asked.

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

    return _ask(uri, get)


def put_object(uri: str, content: BinaryIO) -> None:
    """Write an object in one step, whatever its size."""
    content.seek(0)
    data = content.read(PART)
    if len(data) < PART:
        _ask(uri, lambda client, bucket, key: client.put_object(Bucket=bucket, Key=key, Body=data))
        return
    writer = uuid.uuid4().hex
    upload = _ask(
        uri,
        lambda client, bucket, key: client.create_multipart_upload(Bucket=bucket, Key=key, Metadata={"writer": writer})[
            "UploadId"
        ],
    )
    try:
        parts: list[dict[str, Any]] = []
        while data:
            parts.append(_put_part(uri, upload, len(parts) + 1, data))
            data = content.read(PART)
        _complete(uri, upload, parts, writer)
    except BaseException:
        with contextlib.suppress(Exception):
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            _client(s3_endpoint(), s3_region()).abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
        raise


def _put_part(uri: str, upload: str, number: int, data: bytes) -> dict[str, Any]:
    def put(client: Any, bucket: str, key: str) -> dict[str, Any]:
        answer = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data)
        return {"ETag": answer["ETag"], "PartNumber": number}

    return _ask(uri, put)


def _complete(uri: str, upload: str, parts: list[dict[str, Any]], writer: str) -> None:
    whole = {"Parts": parts}
    try:
        _ask(
            uri,
            lambda client, bucket, key: client.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload, MultipartUpload=whole
            )["ETag"],
        )
    except FileNotFoundError:  # no such upload: it was completed, and the answer lost
        if _writer(uri) != writer:
            raise


def put_if_absent(uri: str, data: bytes) -> bool:
    """Write an object unless there is one; whether this call did. Swift, which may let several, is waited for."""
    from botocore.exceptions import ClientError

    writer = uuid.uuid4().hex

    def put(client: Any, bucket: str, key: str) -> tuple[bool, dict[str, Any]]:
        try:
            answer = client.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*", Metadata={"writer": writer})
        except ClientError as error:
            if _status(error) != 412:
                raise
            return False, error.response["ResponseMetadata"]
        return True, answer["ResponseMetadata"]

    created, answer = _ask(uri, put)
    swift = "x-openstack-request-id" in answer["HTTPHeaders"]
    if created and not swift:
        return True
    # A retry after a lost answer meets this call's own object: the writer tells.
    mine = _writer(uri) == writer
    if mine and swift:
        time.sleep(SETTLE_SECONDS)
        mine = _writer(uri) == writer
    return mine


def _writer(uri: str) -> str | None:
    """Which call wrote an object, where it says so."""
    try:
        _, answer = get_object(uri, "bytes=0-0")
    except EOFError:  # it is empty
        _, answer = get_object(uri)
    return answer["Metadata"].get("writer")


def _status(error: Any) -> int:
    """HTTP status of a `ClientError`: it stands when the answer that says more is cut off."""
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


class RemoteFile(io.RawIOBase):
    """Random access to an object that does not change: of it only the spans are fetched that are read.

    Raises:
        FileNotFoundError: there is none.
    """

    def __init__(self, uri: str) -> None:
        self._uri, self._place = uri, 0
        try:
            self._tail, answer = get_object(uri, f"bytes=-{TAIL}")
            self._size = int(answer["ContentRange"].rpartition("/")[2]) if self._tail else 0
        except EOFError:
            self._tail, self._size = b"", 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        """The next `size` bytes, fewer only at the end; negative: all that are left."""
        first, last = self._place, self._size
        if size is not None and size >= 0:
            last = min(last, first + size)
        if first >= last:
            return b""
        self._place, kept = last, self._size - len(self._tail)
        if first >= kept:
            return self._tail[first - kept : last - kept]
        return get_object(self._uri, f"bytes={first}-{last - 1}")[0]
