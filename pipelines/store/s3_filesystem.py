"""pyarrow's file system of an S3 API server, with this project's patience."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pyarrow.fs import AwsDefaultS3RetryStrategy, FileSystem, S3FileSystem

from pipelines.store.retries import CONNECT_TIMEOUT, MAX_ATTEMPTS, REQUEST_TIMEOUT


class Bucket(S3FileSystem):
    """Pickled by its address alone: pyarrow's own pickle forgets the retries, and this one holds no key."""

    def __init__(self, endpoint: str, region: str) -> None:
        self._address = endpoint, region
        scheme, _, host = endpoint.rpartition("://")
        super().__init__(
            endpoint_override=host or None,
            scheme=scheme or "https",
            region=region or ("us-east-1" if endpoint else None),
            # The standard strategy has 100 retries for the life of a process: pyarrow never gives one back.
            retry_strategy=AwsDefaultS3RetryStrategy(max_attempts=MAX_ATTEMPTS),
            connect_timeout=CONNECT_TIMEOUT,
            request_timeout=REQUEST_TIMEOUT,
            allow_delayed_open=True,  # one request for a small file, not three
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return s3_filesystem, self._address


@lru_cache(maxsize=8)
def s3_filesystem(endpoint: str, region: str) -> FileSystem:
    """pyarrow's file system; the last 8 are kept.

    Args:
        endpoint: address of the server; empty: Amazon's.
        region: empty: the bucket's own, or us-east-1 on another server than Amazon's.
    """
    return Bucket(endpoint, region)
