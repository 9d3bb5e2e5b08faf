"""A RayService as KubeRay runs it: a Ray with the pods' environment, to which the operator gives `serveConfigV2`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
import requests
import yaml

from aunet.data.coco_panoptic import decode_panoptic
from pipelines.serve import serve
from pipelines.settings.cluster_config import ClusterConfig
from pipelines.settings.run_config import from_json
from pipelines.targets.submission import Submitted
from tests.clusters import Nodes, free_port, nodes
from tests.kuberay_operator import KUBERAY, Operator
from tests.serving import noise, write_model

MAX_BYTES = 50_000


@pytest.fixture
def head(cluster: Operator) -> Iterator[Nodes]:
    with nodes() as started:
        yield started


def upload(folder: Path, uri: str, endpoint: str) -> None:
    bucket, prefix = urlsplit(uri).netloc, urlsplit(uri).path.strip("/")
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=endpoint)
    for file in folder.rglob("*"):
        if file.is_file():
            client.upload_file(str(file), bucket, f"{prefix}/{file.relative_to(folder)}")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("cluster", ["v1.7.0"], indirect=True)
def test_a_sent_service_answers_and_refuses_large_bodies(
    cluster: Operator, head: Nodes, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node plays the head and the workers; each of its processes has the manifest's environment and no other."""
    monkeypatch.setenv("PLANTED", "of the shell")
    store = os.environ["AUNET_STORE"]
    upload(write_model(tmp_path / "model", 0), f"{store}/model", s3_endpoint)
    port, dashboard = free_port(), free_port()
    settings = from_json(ClusterConfig, {"image": "registry.example.com/aunet:1.0.0", "gpus_per_node": 0}, "cluster")
    sent = serve(f"{store}/model", port=port, max_bytes=MAX_BYTES, target="kuberay", cluster=settings)
    assert isinstance(sent, Submitted) and sent.sent

    spec = cluster.objects[f"{KUBERAY}rayservices/{sent.submission_id}"]["spec"]
    (container,) = spec["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    own = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(cluster.image),
    }
    head.environment = {**own, **cluster.environment_of(container), **head.reach}
    assert "PLANTED" not in head.environment
    agent = f"--dashboard-agent-listen-port={free_port()}"
    head.start_head("--num-cpus=2", "--include-dashboard=true", f"--dashboard-port={dashboard}", agent)

    deploy(f"http://127.0.0.1:{dashboard}", head.reach["RAY_AUTH_TOKEN"], yaml.safe_load(spec["serveConfigV2"]))
    address = f"http://127.0.0.1:{port}"
    answer = requests.post(f"{address}/panoptic", data=noise(64, 96), headers={"Accept": "image/png"}, timeout=120)
    assert answer.status_code == 200 and decode_panoptic(answer.content).shape == (64, 96)
    assert requests.post(f"{address}/panoptic", data=bytes(MAX_BYTES + 1), timeout=60).status_code == 413
    assert requests.get(f"{address}/health", timeout=60).json()["status"] == "ok"
    assert requests.get(f"{address}/-/healthz", timeout=60).status_code == 200, "which KubeRay's probes ask"


def deploy(server: str, token: str, config: dict[str, Any]) -> None:
    """As the operator: put the configuration to the head's dashboard, and look until everything runs."""
    applications, authorized = f"{server}/api/serve/applications/", {"Authorization": f"Bearer {token}"}
    requests.put(applications, json=config, headers=authorized, timeout=120).raise_for_status()
    deadline = time.monotonic() + 400
    while True:
        state = requests.get(applications, headers=authorized, timeout=120).json()["applications"].get("panoptic", {})
        if state.get("status") == "RUNNING":
            return
        assert state.get("status") != "DEPLOY_FAILED" and time.monotonic() < deadline, state
        time.sleep(1)
