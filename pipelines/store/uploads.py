"""Uploads in parts that were begun and never finished: whoever sent them was killed.

A bucket keeps the parts that came, and bills them, though no listing of its objects shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.store import s3, storage


@dataclass(frozen=True, slots=True)
class Upload:
    """One that is not finished."""

    uri: str
    """Of the object that it is to become."""
    id: str
    begun: float
    """Nanoseconds since 1970."""

    def num_bytes(self) -> int:
        """Of the parts that have come; 0 where it was finished meanwhile.

        Raises:
            Unavailable: the server does not answer, or refuses; so with all functions here.
        """

        def parts(client: Any, bucket: str, key: str) -> int:
            pages = client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=self.id)
            return sum(entry["Size"] for page in pages for entry in page.get("Parts", []))

        try:
            return s3.ask(self.uri, parts)
        except FileNotFoundError:
            return 0

    def abort(self) -> None:
        """Remove its parts; nothing where it was finished meanwhile."""

        def remove(client: Any, bucket: str, key: str) -> None:
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=self.id)

        try:
            s3.ask(self.uri, remove)
        except FileNotFoundError:
            return


def unfinished_uploads(uri: str) -> list[Upload]:
    """Those of all objects below `uri`; none in a folder of this machine."""

    def listed(client: Any, bucket: str, key: str) -> list[Upload]:
        pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=f"{key}/".lstrip("/"))
        return [
            Upload(f"s3://{bucket}/{entry['Key']}", entry["UploadId"], entry["Initiated"].timestamp() * 1e9)
            for page in pages
            for entry in page.get("Uploads", [])
        ]

    return s3.ask(uri, listed) if storage.is_s3(uri) else []
