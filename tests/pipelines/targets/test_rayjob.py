"""RayJobs and schedules as they are rendered; those of coco_r50 are kept as golden files in jobs/."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import replace
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
from pipelines.targets.pods import GPU, QUEUE, SPOT_LABELS
from pipelines.targets.rayjob import cluster_problems, render_rayjob, size_of
from pipelines.targets.schedule import name_of, render_schedule
from pipelines.targets.submission import Submission, submission

MANIFESTS = Path(__file__).parents[3] / "jobs"
IMAGE = "registry.example.com/aunet:1.0.0"
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
    return submission(override(base, {"cluster.image": IMAGE, **(changes or {})}), verb=verb, preset=preset, base=base)


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
    sent = f"submit {verb} coco_r50 --target kuberay --cluster.image {IMAGE} --dry-run"
    command = f"# {settings} \\\n#   python -m jobs {sent}\n"
    for changing, fixed in ((made.id[-12:], "0" * 12), (made.code, "0" * 11 + "c")):  # change with every line of code
        text = text.replace(changing, fixed)
    golden = command + text
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


BESIDE = {"train.validate": "beside", "train.evaluate_every": 1}
RAY_FEED = {"feed.kind": "ray", "feed.workers": 8}


@pytest.mark.parametrize(
    ("verb", "changes", "nodes", "gpus"),
    [
        ("train", {"train.num_workers": 4, **BESIDE}, 1, 5),
        ("train", {"train.num_workers": 8, **BESIDE}, 2, 8),
        ("train", {"train.num_workers": 8, **RAY_FEED}, 2, 4),
        ("train", {"train.num_workers": 8, **RAY_FEED, "cluster.cpus_per_node": 64}, 1, 8),
        ("train", {"train.num_workers": 8, **RAY_FEED, **BESIDE, "cluster.cpus_per_node": 64}, 2, 8),
        ("train", {"train.num_workers": [2, 8], **BESIDE}, 2, 8),
        ("tune", {"train.num_workers": 2, "tune.num_workers": 2, "tune.max_concurrent": 4, **BESIDE}, 1, 8),
        ("tune", {"train.num_workers": 2, "tune.num_workers": 2, "tune.max_concurrent": 4, **RAY_FEED}, 2, 4),
        ("train", {"train.use_gpu": False, "train.num_workers": 32, "feed.workers": 0, **BESIDE}, 2, 0),
        ("train", {"train.use_gpu": False, "train.num_workers": 8, **RAY_FEED}, 3, 0),
    ],
)
def test_what_works_beside_the_workers_has_room(verb: str, changes: dict[str, Any], nodes: int, gpus: int) -> None:
    """A training that lacks a GPU for its measurements, or CPUs for its decoding, is refused when its nodes run."""
    made = job(verb=verb, changes={"train.batch_size": 32, **changes})
    size = size_of(made)
    assert (size.nodes, size.gpus) == (nodes, gpus)
    assert cluster_problems(made) == []
    (problem,) = cluster_problems(replace(made, addresses={"--run": "/data/store/runs/one"}))
    assert problem == "--run = '/data/store/runs/one': pods do not see this machine; use s3://bucket/prefix"
    group = workers(render_rayjob(made))
    assert (group["replicas"], group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"]) == (
        nodes,
        str(size.cpus),
    )


@pytest.mark.parametrize("verb", ["train", "tune"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.num_workers": 16}, "train.num_workers = 16 with one GPU each, but the cluster has 8"),
        ({"train.num_workers": 8, **BESIDE}, "train.validate = 'beside' needs one GPU besides those of"),
        ({"train.num_workers": 8, **RAY_FEED}, "decoding tasks with one CPU each = 64 CPUs, but the cluster has 32"),
    ],
)
def test_a_cluster_in_which_a_training_would_not_start_is_refused_before_it_costs_anything(
    verb: str, changes: dict[str, Any], message: str
) -> None:
    made = job(verb=verb, changes={"tune.num_workers": 1, **changes})
    problems = cluster_problems(made, sized=lambda job: replace(size_of(job), nodes=1, gpus=8))
    assert message in " ".join(problems)


@pytest.mark.parametrize("verb", ["preprocess", "register"])
def test_a_verb_that_trains_nothing_has_no_gpus(verb: str) -> None:
    rendered = render_rayjob(job(verb=verb))
    group = workers(rendered)
    assert "nvidia" not in str(rendered) and (group["groupName"], group["replicas"]) == ("cpu", 1)
    resources = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert resources == {"cpu": "8", "memory": "32Gi"}
    assert rayjob_problems(rendered) == []


@pytest.mark.parametrize("verb", ["train", "preprocess", "tune"])
def test_no_gpu_is_kept_after_a_job(verb: str) -> None:
    spec = render_rayjob(job(verb=verb))["spec"]
    assert (spec["shutdownAfterJobFinishes"], spec["ttlSecondsAfterFinished"]) == (True, 0)


def test_the_small_preset_fits_a_laptop() -> None:
    spec = render_rayjob(job("shapes_smoke"))["spec"]
    group = spec["rayClusterSpec"]["workerGroupSpecs"][0]
    templates = [spec["submitterPodTemplate"], spec["rayClusterSpec"]["headGroupSpec"]["template"], group["template"]]
    limits = [template["spec"]["containers"][0]["resources"]["limits"] for template in templates]
    assert group["replicas"] == 1
    assert sum(float(limit["cpu"].replace("500m", ".5")) for limit in limits) <= 4
    assert sum(int(limit["memory"].removesuffix("Gi")) for limit in limits) <= 6


def test_a_clusters_habits_have_their_settings() -> None:
    habits = {
        "cluster.queue": "research",
        "cluster.priority_class": "batch-low",
        "cluster.runtime_class": "nvidia",
        "cluster.pull_secrets": ["registry"],
        "cluster.node_selector": ["node.kubernetes.io/instance-type=p4d.24xlarge"],
        "cluster.labels": ["team=vision"],
        "cluster.annotations": ["sidecar.istio.io/inject=false"],
        "cluster.env": ["NCCL_DEBUG=INFO"],
    }
    rendered = render_rayjob(job(changes=habits))
    assert rayjob_problems(rendered) == []
    assert rendered["metadata"]["labels"][QUEUE] == "research"
    spec = rendered["spec"]["rayClusterSpec"]
    parts = [
        rendered["spec"]["submitterPodTemplate"],
        spec["headGroupSpec"]["template"],
        workers(rendered)["template"],
        render_schedule(job(verb="retrain", changes=habits))[-1]["spec"]["jobTemplate"]["spec"]["template"],
    ]
    for part in parts:
        assert part["metadata"]["labels"]["team"] == "vision"
        assert part["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"
        assert part["spec"]["priorityClassName"] == "batch-low"
        assert part["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    worker = parts[2]["spec"]
    assert worker["runtimeClassName"] == "nvidia" and "runtimeClassName" not in parts[1]["spec"]
    assert worker["nodeSelector"] == {"node.kubernetes.io/instance-type": "p4d.24xlarge"}
    assert {"name": "NCCL_DEBUG", "value": "INFO"} in worker["containers"][0]["env"]


def test_head_submitter_and_tick_are_not_moved_to_save_a_node() -> None:
    spec = render_rayjob(job())["spec"]
    tick = render_schedule(job(verb="retrain"))[-1]["spec"]["jobTemplate"]["spec"]["template"]
    for part in (spec["submitterPodTemplate"], spec["rayClusterSpec"]["headGroupSpec"]["template"], tick):
        notes = part["metadata"]["annotations"]
        assert notes["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
        assert notes["karpenter.sh/do-not-disrupt"] == "true"


def test_every_name_has_its_schedule() -> None:
    names = ["coco_r50", "coco-r50", "my_streets", "my-streets", "My_Streets", "x" * 60]
    made = [name_of(job(verb="retrain", changes={"name": name})) for name in names]
    assert made[0] == "retrain-coco-r50" and len(set(made)) == len(names)
    assert all(len(name) <= 52 and re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name) for name in made)


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
    stable = workers(render_rayjob(job(changes={"cluster.spot": False})))["template"]["spec"]
    assert [entry["key"] for entry in stable["tolerations"]] == [GPU]
    assert stable["affinity"] == head["affinity"], "a node may be pre-emptible without a taint"
    terms = head["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert {term["key"]: term["values"] for term in terms[0]["matchExpressions"]} == {
        label: [value] for label, value in SPOT_LABELS.items()
    }


def test_credentials_come_by_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AUNET_SECRET_X"):
        monkeypatch.setenv(name, "canary-77")
    for made in (render_rayjob(job()), render_schedule(job(verb="retrain"))):
        assert "canary-77" not in str(made)
    container = render_rayjob(job())["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert container["envFrom"] == [{"secretRef": {"name": "aunet", "optional": True}}]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    assert {name: env[name] for name in ADDRESSES} == ADDRESSES
    assert set(env) - set(ADDRESSES) == {"AUNET_GIVEN", "AUNET_CODE", "AUNET_JOB"}
    assert env["AUNET_GIVEN"].split(",") == sorted(ADDRESSES)


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
        ({}, {"feed.workers": 4}, "8 GPUs × 5 CPUs (training, and decoding beside it) = 40, but cluster.cpus_per_node"),
        ({}, {"cluster.shm_gb": 300}, "cluster.shm_gb = 300"),
        ({}, {"cluster.image": ""}, "cluster.image = none: no version"),
        ({}, {"cluster.image": "registry.example.com/aunet"}, "no version, so nodes could run different code"),
        ({}, {"cluster.image": "registry.example.com:5000/aunet"}, "no version"),
        ({}, {"cluster.image": "registry.example.com/aunet:latest"}, "`latest` is another image tomorrow"),
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
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "aunet", "optional": True}}]
    verb, options = parse(pod["containers"][0]["command"][3:], io.StringIO())
    assert (verb.name, options.verb, options.now, options.wait) == ("submit", "retrain", True, True)
    assert options.config == made.config
    assert yaml.safe_load(to_yaml([made.config.cluster.schedule])) == "0 4 * * 1"
