"""`cluster.patch`: what it may change, and how it is merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from aunet.errors import InputError
from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.targets.cluster_schema import check_rayjob
from pipelines.targets.patching import merged, patch_of
from pipelines.targets.rayjob import render_rayjob
from pipelines.targets.schedule import render_schedule
from pipelines.targets.submission import Submission, submission

EFA = """
workers:
  spec:
    hostNetwork: true
    containers:
    - name: ray-worker
      resources:
        limits: {vpc.amazonaws.com/efa: 4}
        requests: {vpc.amazonaws.com/efa: 4}
      env:
      - {name: FI_PROVIDER, value: efa}
      volumeMounts:
      - {name: hugepages, mountPath: /dev/hugepages}
    volumes:
    - {name: hugepages, emptyDir: {medium: HugePages}}
head:
  spec:
    affinity: null
tick:
  spec:
    dnsPolicy: Default
rayjob:
  metadata:
    annotations: {example.com/owner: vision}
"""


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://models/aunet")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def job(patch: str, verb: str = "train") -> Submission:
    base = presets.shapes_smoke()
    config = override(base, {"cluster.image": "registry.example.com/aunet:1.0.0", "cluster.patch": patch})
    return submission(config, verb=verb, preset="shapes_smoke", base=base)


def test_a_patch_adds_what_no_setting_knows(tmp_path: Path) -> None:
    (tmp_path / "efa.yaml").write_text(EFA)
    made = render_rayjob(job(str(tmp_path / "efa.yaml")))
    check_rayjob(made, is_patched=True)
    plain = render_rayjob(job(""))
    spec = made["spec"]["rayClusterSpec"]
    worker = spec["workerGroupSpecs"][0]["template"]["spec"]
    (container,) = worker["containers"]
    assert worker["hostNetwork"] is True
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "3Gi", "vpc.amazonaws.com/efa": 4}
    assert {"name": "FI_PROVIDER", "value": "efa"} in container["env"] and len(container["env"]) > 1
    assert [mount["name"] for mount in container["volumeMounts"]] == ["shm", "hugepages"]
    assert [volume["name"] for volume in worker["volumes"]] == ["shm", "hugepages"]
    assert "affinity" not in spec["headGroupSpec"]["template"]["spec"]
    assert made["metadata"]["annotations"]["example.com/owner"] == "vision"
    assert made["metadata"]["labels"] == plain["metadata"]["labels"]


def test_a_patch_reaches_the_pods_that_ticks_and_steps_start(tmp_path: Path) -> None:
    """As its text: the file is on this machine."""
    path = tmp_path / "efa.yaml"
    path.write_text(EFA)
    made = job(str(path), verb="retrain")
    path.unlink()
    assert str(path) not in str(made.words)
    assert patch_of(made.config.cluster.patch) == yaml.safe_load(EFA)
    tick = render_schedule(made)[-1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert tick["dnsPolicy"] == "Default"


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ("nowhere.yaml", "cluster.patch = nowhere.yaml: no such file"),
        ("workers:\n- a\n", "cluster.patch: workers is a list; give a mapping"),
        ("pods:\n  spec: {}\n", "unknown key 'pods'; give a mapping with some of rayjob, head, workers"),
        ("workers: [\n", "cluster.patch: not YAML"),
        (
            "workers:\n  spec:\n    volumes:\n    - emptyDir: {}\n",
            "an entry without 'name', which tells it from others",
        ),
    ],
)
def test_a_wrong_patch_is_one_line(patch: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        render_rayjob(job(patch))
    assert message in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"spec": {"rayClusterSpec": None}}, "what it leaves is no RayJob any more"),
        ({"spec": {"rayClusterSpec": {"headGroupSpec": {"rayStartParams": {"num-cpus": "4"}}}}}, "must run no work"),
        (
            {"spec": {"rayClusterSpec": {"workerGroupSpecs": [{"groupName": "cpu", "maxReplicas": 0}]}}},
            "replicas must be between",
        ),
    ],
)
def test_a_patch_that_breaks_the_job_is_refused(patch: dict[str, Any], message: str) -> None:
    made = merged(render_rayjob(job("")), patch)
    with pytest.raises(InputError, match=message):
        check_rayjob(made, is_patched=True)


@pytest.mark.parametrize(
    ("base", "patch", "result"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": 3}}, {"a": {"c": 2, "d": 3}}),
        ({"a": {"b": 1}}, {"a": {"$patch": "replace", "c": 2}}, {"a": {"c": 2}}),
        ({"args": [1, 2]}, {"args": [3]}, {"args": [3]}),
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"env": [{"name": "A", "$patch": "delete"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}]},
            {"env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]},
        ),
        ({}, {"volumes": [{"name": "x"}]}, {"volumes": [{"name": "x"}]}),
    ],
)
def test_merging(base: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]) -> None:
    before = str(base)
    assert merged(base, patch) == result
    assert str(base) == before
