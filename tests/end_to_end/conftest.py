"""A cluster with KubeRay, as a stand-in, for the flows that end on Kubernetes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.kuberay_crds import VERSIONS, schema_of
from tests.kuberay_operator import NAMESPACE, Operator, build_image, kuberay

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "MLFLOW_TRACKING_URI": ""}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_image(tmp_path_factory.mktemp("image"))


@pytest.fixture(params=VERSIONS)
def cluster(
    request: pytest.FixtureRequest, s3_endpoint: str, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Operator]:
    """A cluster with KubeRay and a Secret; this process is a laptop that reaches its API and the bucket."""
    schema_of(request.param, "rayjobs")  # skips the test where there is none, and not the thread of the server
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    bucket = f"kuberay-{uuid.uuid4().hex[:8]}"
    boto3.client("s3", region_name="us-east-1", endpoint_url=s3_endpoint).create_bucket(Bucket=bucket)
    monkeypatch.setenv("AUNET_STORE", f"s3://{bucket}/store")
    (tmp_path / "pods").mkdir()
    with kuberay(request.param, tmp_path / "pods", image) as (operator, config):
        monkeypatch.setenv("KUBECONFIG", config)
        secret = {name: KEYS[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        operator.objects[f"{NAMESPACE}/secrets/aunet"] = {"metadata": {"name": "aunet"}, "stringData": secret}
        yield operator
