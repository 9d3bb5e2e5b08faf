"""Uploads in parts that were never finished."""

from __future__ import annotations

from pathlib import Path

import boto3

from pipelines.store import storage
from pipelines.store.uploads import unfinished_uploads


def begin_upload(uri: str) -> None:
    """As a writer that is killed after its first part."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    client = boto3.Session().client("s3")
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"12345")


def test_those_below_a_folder_are_listed_with_what_came_of_them(s3: str) -> None:
    for name in ("a/x", "b", "a/x"):
        begin_upload(storage.join(s3, name))
    begin_upload(f"{s3}-of-others/x")
    assert [upload.uri for upload in unfinished_uploads(storage.join(s3, "a"))] == [storage.join(s3, "a/x")] * 2
    assert [upload.num_bytes() for upload in unfinished_uploads(s3)] == [5, 5, 5]
    assert len(unfinished_uploads(storage.parent(s3))) == 4, "the whole bucket"


def test_an_upload_that_is_finished_meanwhile_is_no_mistake(s3: str) -> None:
    begin_upload(storage.join(s3, "x"))
    (upload,) = unfinished_uploads(s3)
    upload.abort()
    assert (upload.num_bytes(), upload.abort()) == (0, None)


def test_a_folder_has_no_uploads(tmp_path: Path) -> None:
    assert unfinished_uploads(str(tmp_path)) == []
