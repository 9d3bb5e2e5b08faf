"""RayJobs and schedules as they are rendered; those of coco_r50 are kept as golden files in jobs/."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from aunet.errors import InputError
from jobs.parsing import parse
from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.targets.cluster_schema import rayjob_problems
from pipelines.targets.kuberay import to_yaml
from pipelines.targets.rayjob import GPU, render_rayjob
from pipelines.targets.schedule import render_schedule
from pipelines.targets.submission import Submission, submission

MANIFESTS = Path(__file__).parents[3] / "jobs"
ADDRESSES = {
    "AUNET_STORE": "s3://models/aunet",
    "AUNET_COCO": "s3://datasets/coco",
    "MLFLOW_TRACKING_URI": "http://mlflow:5000",
}


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ADDRESSES.items():
        monkeypatch.setenv(name, value)
    for name in ("AUNET_SAMPLE_DATA", "AUNET_CITYSCAPES", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def job(preset: str = "coco_r50", verb: str = "train", changes: Mapping[str, Any] | None = None) -> Submission:
    base = getattr(presets, preset)()
    return submission(override(base, changes or {}), verb=verb, preset=preset, base=base)


def workers(rendered: dict[str, Any]) -> dict[str, Any]:
    (group,) = rendered["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    return group


@pytest.mark.parametrize(
    ("file", "verb"), [("rayjob.yaml", "train"), ("cronjob.yaml", "retrain")], ids=["RayJob", "CronJob"]
)
def test_the_manifests_are_those_in_the_repository(file: str, verb: str) -> None:
    made = job(verb=verb)
    text = to_yaml([render_rayjob(made)] if verb == "train" else render_schedule(made))
    settings = " ".join(f"{name}={value}" for name, value in ADDRESSES.items())
    command = f"# {settings} \\\n#   python -m jobs submit {verb} coco_r50 --target kuberay --dry-run\n"
    golden = command + text.replace(made.id[-12:], "0" * 12)  # the id changes with every line of code
    assert (MANIFESTS / file).read_text() == golden, f"drifted; look at the difference, then write anew: {golden}"


@pytest.mark.parametrize(
    ("num_workers", "gpus_per_node", "nodes", "gpus"),
    [(8, 8, 1, 8), (16, 8, 2, 8), (2, 8, 1, 2), (12, 8, 2, 8), (3, 1, 3, 1)],
)
def test_the_cluster_is_as_large_as_the_job(num_workers: int, gpus_per_node: int, nodes: int, gpus: int) -> None:
    changes = {
        "train.num_workers": num_workers,
        "train.batch_size": 2 * num_workers,
        "cluster.gpus_per_node": gpus_per_node,
    }
    group = workers(render_rayjob(job(changes=changes)))
    assert (group["minReplicas"], group["replicas"], group["maxReplicas"]) == (nodes, nodes, nodes)
    assert group["template"]["spec"]["containers"][0]["resources"]["limits"][GPU] == str(gpus)


def test_a_search_has_room_for_its_trials() -> None:
    made = job(verb="tune", changes={"tune.num_workers": 4, "tune.max_concurrent": 6})
    assert workers(render_rayjob(made))["replicas"] == 3


def test_a_preset_without_gpus_has_none() -> None:
    rendered = render_rayjob(job("shapes_smoke"))
    assert "nvidia" not in str(rendered) and workers(rendered)["groupName"] == "cpu"
    assert rayjob_problems(rendered) == []


def test_spot_is_tolerated_by_workers_and_never_by_the_head() -> None:
    spec = render_rayjob(job())["spec"]["rayClusterSpec"]
    head, worker = (
        spec["headGroupSpec"]["template"]["spec"],
        workers({"spec": {"rayClusterSpec": spec}})["template"]["spec"],
    )
    assert "spot" in str(worker["tolerations"]) and "tolerations" not in head
    assert "NotIn" in str(head["affinity"]) and "affinity" not in worker
    assert "ray drain-node" in str(worker["containers"][0]["lifecycle"])
    stable = workers(render_rayjob(job(changes={"cluster.spot": False})))["template"]["spec"]["tolerations"]
    assert [entry["key"] for entry in stable] == [GPU]


def test_credentials_come_by_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AUNET_SECRET_X"):
        monkeypatch.setenv(name, "canary-77")
    for made in (render_rayjob(job()), render_schedule(job(verb="retrain"))):
        assert "canary-77" not in str(made)
    container = render_rayjob(job())["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert container["envFrom"] == [{"secretRef": {"name": "aunet", "optional": True}}]
    assert {entry["name"]: entry["value"] for entry in container["env"]} == ADDRESSES


@pytest.mark.parametrize(
    ("environment", "changes", "message"),
    [
        ({"AUNET_STORE": "/data/store"}, {}, "AUNET_STORE: pods share no folder"),
        ({"MLFLOW_TRACKING_URI": "sqlite:////data/mlflow.db"}, {}, "a file of this machine"),
        ({"MLFLOW_TRACKING_URI": "/data/mlruns"}, {}, "a file of this machine"),
        ({"MLFLOW_TRACKING_URI": "file:///data/mlruns"}, {}, "a file of this machine"),
        ({}, {"data.root": "file:///data/coco"}, "data.root = 'file:///data/coco'"),
        ({}, {"data.root": "data/coco"}, "data.root = 'data/coco'"),
        ({}, {"cluster.gpus_per_node": 0}, "cluster.gpus_per_node = 0"),
        ({}, {"cluster.shm_gb": 300}, "cluster.shm_gb = 300"),
    ],
)
def test_what_pods_could_not_do_is_refused(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], changes: dict[str, Any], message: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for render, verb in ((render_rayjob, "train"), (render_schedule, "retrain")):
        with pytest.raises(InputError) as refused:
            render(job(verb=verb, changes=changes))
        assert message in str(refused.value)


def test_a_tick_is_a_command_line_that_parses() -> None:
    made = job(verb="retrain", changes={"cluster.schedule": "0 4 * * 1", "train.seed": 3})
    pod = render_schedule(made)[-1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    verb, options = parse(pod["containers"][0]["command"][3:], io.StringIO())
    assert (verb.name, options.verb, options.now, options.wait) == ("submit", "retrain", True, True)
    assert options.config == made.config
    assert yaml.safe_load(to_yaml([made.config.cluster.schedule])) == "0 4 * * 1"
