"""RayServices as they are rendered and sent; one is kept as a golden file in jobs/."""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from aunet.errors import InputError, Unavailable
from jobs.parsing import parse
from pipelines.serve import serve
from pipelines.targets.pods import GPU
from pipelines.targets.submission import Submitted
from tests.canaries import CANARY, leaks
from tests.conftest import SAMPLE_DATA
from tests.kuberay_crds import VERSIONS, mistakes, schema_of, unknown_fields
from tests.kuberay_operator import KUBERAY, build_image, kuberay
from tests.kubernetes_api import api_server

GOLDEN = Path(__file__).parents[3] / "jobs" / "rayservice.yaml"
ADDRESSES = {"AUNET_STORE": "s3://models/aunet", "MLFLOW_TRACKING_URI": "http://mlflow:5000"}
SERVE = ("serve", "--model", "models:/aunet@champion", "--target", "kuberay")
IMAGE = ("--cluster.image", "registry.example.com/aunet:1.0.0")


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.environ.get(SAMPLE_DATA):  # which would travel: the schemas are kept
        assert all(schema_of(version, "rayservices") for version in VERSIONS)
    for name, value in {**ADDRESSES, "PLANTED": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY}.items():
        monkeypatch.setenv(name, value)
    for name in ("AUNET_SAMPLE_DATA", "AUNET_COCO", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def asked(*words: str) -> Submitted:
    """What the command line with these words gives."""
    _, options = parse([*SERVE, *IMAGE, *words], io.StringIO())
    result = serve(**options.arguments())
    assert isinstance(result, Submitted)
    return result


def rendered(*words: str) -> dict[str, Any]:
    return yaml.safe_load(asked("--dry-run", *words).text)


def workers(service: Mapping[str, Any]) -> dict[str, Any]:
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    return group


def test_the_manifest_is_the_one_in_the_repository() -> None:
    text = asked("--dry-run").text
    code = yaml.safe_load(text)["metadata"]["annotations"]["aunet/code"]
    settings = " ".join(f"{name}={value}" for name, value in ADDRESSES.items())
    command = f"# {settings} \\\n#   python -m jobs {' '.join([*SERVE, *IMAGE])} --dry-run\n"
    golden = command + text.replace(code, "0" * 11 + "c")
    assert GOLDEN.read_text() == golden, f"drifted; look at the difference, then write anew: {golden}"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("words", [(), ("--gpus", "0"), ("--cluster.spot", "False")], ids=["GPUs", "CPUs", "no spot"])
def test_the_real_crds_know_every_field(version: str, words: tuple[str, ...]) -> None:
    service, schema = rendered(*words), schema_of(version, "rayservices")
    assert list(unknown_fields(service, schema)) == []
    assert mistakes(service, schema) == []


def test_ray_serve_accepts_what_it_is_to_run_and_finds_it() -> None:
    config = yaml.safe_load(rendered("--replicas", "3", "--queue", "5", "--gpus", "0.5")["spec"]["serveConfigV2"])
    (application,) = ServeDeploySchema.model_validate(config).applications
    module, _, name = application.import_path.partition(":")
    built = getattr(importlib.import_module(module), name)(application.args)
    deployment = built._bound_deployment
    assert (deployment.num_replicas, deployment.max_queued_requests) == (3, 15)
    assert deployment.ray_actor_options == {"num_cpus": 1, "num_gpus": 0.5}
    assert application.args["model"] == "models:/aunet@champion"


def test_every_pod_refuses_large_bodies_and_carries_what_travels_and_nothing_else() -> None:
    cluster = rendered("--max-bytes", "1000", "--port", "8080")["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        assert environment["AUNET_SERVE_MAX_BYTES"] == "1000"
        callback = environment["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"]
        module, _, name = callback.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))
        assert environment.items() >= ADDRESSES.items() and "PLANTED" not in environment
        assert {"name": "serve", "containerPort": 8080} in container["ports"]
    assert leaks(asked("--dry-run").text) == []


@pytest.mark.parametrize(
    ("words", "nodes", "gpus", "cpus"),
    [
        ("--replicas 1", 1, "1", "32"),
        ("--replicas 20", 3, "8", "32"),
        ("--replicas 4 --gpus 0.5", 1, "2", "32"),
        ("--replicas 4 --cpus 16", 2, "2", "32"),
        ("--replicas 3 --gpus 0 --cpus 4", 2, None, "8"),
        ("--replicas 2 --cluster.gpus_per_node 0", 1, None, "8"),
    ],
)
def test_the_cluster_has_room_for_every_replica(words: str, nodes: int, gpus: str | None, cpus: str) -> None:
    group = workers(rendered(*words.split()))
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert (group["replicas"], limits.get(GPU), limits["cpu"]) == (nodes, gpus, cpus)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--cluster.image", "aunet:latest"), "cluster.image = "),
        (("--model", "./model"), r"--model = \./model: pods do not see this machine; use models:/NAME@ALIAS"),
        (("--gpus", "1", "--cluster.gpus_per_node", "0"), "gpus_per_node = 0: replicas with GPUs need nodes with GPUs"),
        (("--gpus", "9"), "--gpus = 9.0: cluster.gpus_per_node is 8"),
        (("--gpus", "0", "--cpus", "9"), "--cpus = 9: more than cluster.small_cpus = 8"),
        (("--cluster.env", f"DB=postgresql://me:{CANARY}@db/x"), "cluster.env: holds credentials"),
        (("--cluster.namespace", "Not A Name"), "cluster.namespace"),
    ],
)
def test_what_could_not_run_is_one_line(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        asked("--dry-run", *words)
    assert CANARY not in str(raised.value)


def test_a_patch_reaches_the_service_and_its_pods() -> None:
    patch = "rayservice: {spec: {rayClusterDeletionDelaySeconds: 30}}\nworkers: {spec: {hostNetwork: true}}"
    service = rendered("--cluster.patch", patch)
    assert service["spec"]["rayClusterDeletionDelaySeconds"] == 30
    assert workers(service)["template"]["spec"]["hostNetwork"] is True


def test_only_kuberay_is_asked_for_a_manifest() -> None:
    with pytest.raises(InputError, match="--dry-run = True: only --target kuberay sends anything"):
        serve("models:/aunet@champion", dry_run=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_service_is_sent_once_and_then_replaced(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert schema_of(version, "rayservices")
    with kuberay(version, tmp_path, build_image(tmp_path / "image")) as (operator, config):
        monkeypatch.setenv("KUBECONFIG", config)
        first, second = asked("--replicas", "1"), asked("--replicas", "2")
        assert first.submission_id == second.submission_id and first.sent
        (path,) = [path for path in operator.objects if path.startswith(f"{KUBERAY}rayservices/")]
        assert "replicas: 2" in operator.objects[path]["spec"]["serveConfigV2"]
        with pytest.raises(Unavailable, match=r"strict decoding error: unknown field 'spec\.planted'"):
            asked("--cluster.patch", '{"rayservice": {"spec": {"planted": 1}}}')


def test_a_server_that_refuses_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with api_server(tmp_path) as (api, config):
        monkeypatch.setenv("KUBECONFIG", config)
        api.refuse["POST"] = 403
        with pytest.raises(Unavailable, match="Kubernetes answered 403: POST is not for you; ask for the right"):
            asked()
