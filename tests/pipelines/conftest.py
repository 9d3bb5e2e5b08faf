"""What the tests of this folder share: a small raw data set and a bucket."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pytest


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """`s3://…` of an empty bucket, with an environment in which it can be reached."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"bucket-{uuid.uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/store"


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from aunet.data.shapes import write_scenes

    folder = tmp_path_factory.mktemp("raw")
    write_scenes(folder, num_train=5, num_val=2, height=64, width=80)
    return folder


@pytest.fixture
def raw(pristine: Path, tmp_path: Path) -> Path:
    """A data set of five and two scenes, to be damaged."""
    return Path(shutil.copytree(pristine, tmp_path / "raw"))
