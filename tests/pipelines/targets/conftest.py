"""What the tests of this folder share: an API server of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes_api import Api, api_server


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The server; kubeconfig names it, and the store is one that pods reach."""
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    with api_server(tmp_path) as (server, config):
        monkeypatch.setenv("KUBECONFIG", config)
        yield server
