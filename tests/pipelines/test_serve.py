"""`serve` on a cluster that has too little for its replicas."""

from __future__ import annotations

from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.runtime.code_version import CODE
from pipelines.serve import in_pods, serve
from pipelines.serving.body_limit import proxy_environment
from pipelines.serving.settings import ServerSettings
from tests.serving import free_port, write_model


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_model(tmp_path / "model", 0))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken back: `serve` sets variables for the proxies that it starts."""
    for name, value in proxy_environment(1).items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("ray_cluster")
def test_more_gpus_than_the_cluster_has_are_refused(model: str) -> None:
    with pytest.raises(InputError, match="--replicas 2 --gpus 1: needs 2 GPUs, but the cluster has 0"):
        serve(model, port=free_port(), replicas=2, gpus=1.0)


def test_an_image_of_other_code_serves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CODE, "0123456789ab")
    with pytest.raises(InputError, match="submitted from code 0123456789ab; build and push an image"):
        in_pods(ServerSettings(model="models:/aunet@champion").to_plain())
