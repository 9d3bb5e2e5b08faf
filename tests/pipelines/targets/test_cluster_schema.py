"""Manifests are checked without a cluster, and the checks notice what they are for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from aunet.errors import InputError
from pipelines.targets.cluster_schema import check_rayjob, launcher_problems, rayjob_problems

ROOT = Path(__file__).parents[3]
KUBERNETES = "1.31"


def documents(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / file).read_text()))


@pytest.fixture
def rayjob() -> dict[str, Any]:
    return documents("jobs/rayjob.yaml")[0]


@pytest.fixture
def launcher() -> dict[str, Any]:
    return documents("cluster.yaml")[0]


def at(document: dict[str, Any], path: str) -> dict[str, Any]:
    for name in filter(None, path.split(".")):
        document = document[int(name)] if name.isdigit() else document[name]  # type: ignore[index]
    return document


CLUSTER = "spec.rayClusterSpec"
GROUP = f"{CLUSTER}.workerGroupSpecs.0"
POD = f"{GROUP}.template.spec"
RESOURCES = f"{POD}.containers.0.resources"


def drop(path: str, name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda document: at(document, path).pop(name)


def put(path: str, **values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda document: at(document, path).update(values)


def misspell(path: str, name: str, wrong: str) -> Callable[[dict[str, Any]], Any]:
    return lambda document: at(document, path).update({wrong: at(document, path).pop(name)})


def without_gpu(document: dict[str, Any]) -> None:
    for kind in ("requests", "limits"):
        at(document, f"{RESOURCES}.{kind}").pop("nvidia.com/gpu")


def test_the_manifests_are_valid(rayjob: dict[str, Any]) -> None:
    check_rayjob(rayjob)
    for document in documents("jobs/cronjob.yaml"):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_the_pods_of_a_rayjob_are_pods(rayjob: dict[str, Any]) -> None:
    cluster = rayjob["spec"]["rayClusterSpec"]
    templates = [cluster["headGroupSpec"]["template"], cluster["workerGroupSpecs"][0]["template"]]
    for template in [*templates, {"metadata": {}, **rayjob["spec"]["submitterPodTemplate"]}]:
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (misspell("spec", "backoffLimit", "backofLimit"), "'backofLimit' was unexpected"),
        (misspell(GROUP, "maxReplicas", "maxReplica"), "'maxReplica' was unexpected"),
        (misspell(POD, "tolerations", "toleration"), "'toleration' was unexpected"),
        (drop(GROUP, "maxReplicas"), "'maxReplicas' is a required property"),
        (drop(GROUP, "minReplicas"), "'minReplicas' is a required property"),
        (put(GROUP, minReplicas=2), "between minReplicas and maxReplicas"),
        (put(GROUP, replicas=0), "replicas: 0 is less than the minimum"),
        (without_gpu, "a group for GPUs without a GPU"),
        (put(f"{RESOURCES}.requests", memory="1Gi"), "requests must equal limits"),
        (put(f"{CLUSTER}.headGroupSpec.rayStartParams", **{"num-cpus": "8"}), "the head must take no work"),
        (drop(f"{CLUSTER}", "authOptions"), "'authOptions' is a required property"),
        (put(f"{CLUSTER}.authOptions", mode="disabled"), "'token' was expected"),
        (put(f"{POD}.volumes.0.emptyDir", medium=""), "'Memory' was expected"),
        (put(POD, terminationGracePeriodSeconds=30), "leave time to drain"),
        (put("spec", shutdownAfterJobFinishes=False), "True was expected"),
        (put("metadata", name="train-" + "x" * 50), "is too long"),
        (put("metadata", name="Train_1"), "does not match"),
    ],
)
def test_a_damaged_rayjob_is_noticed(rayjob: dict[str, Any], damage: Callable[..., Any], said: str) -> None:
    damage(rayjob)
    problems = rayjob_problems(rayjob)
    assert len(problems) >= 1 and said in " ".join(problems)
    with pytest.raises(InputError, match="RayJob: "):
        check_rayjob(rayjob)


CRON_POD = "spec.jobTemplate.spec.template.spec"


@pytest.mark.parametrize(
    "damage",
    [
        misspell("spec", "concurrencyPolicy", "concurencyPolicy"),
        drop("spec", "schedule"),
        put("spec", startingDeadlineSeconds="soon"),
        misspell(CRON_POD, "containers", "container"),
        drop("spec.jobTemplate.spec.podFailurePolicy.rules.1", "action"),
    ],
)
def test_a_damaged_cron_job_is_noticed(damage: Callable[..., Any]) -> None:
    cron_job = documents("jobs/cronjob.yaml")[-1]
    damage(cron_job)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(cron_job, KUBERNETES, strict=True)


def test_ticks_do_not_overlap_and_may_send_rayjobs() -> None:
    account, role, binding, cron_job = documents("jobs/cronjob.yaml")
    assert cron_job["spec"]["concurrencyPolicy"] == "Forbid"
    assert at(cron_job, CRON_POD)["serviceAccountName"] == account["metadata"]["name"]
    assert binding["subjects"][0]["name"] == account["metadata"]["name"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    rights = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert {("rayjobs", "create"), ("rayjobs", "get"), ("rayjobs", "delete")} <= rights
    assert "secrets" not in str(role["rules"])


def test_cluster_yaml_is_valid(launcher: dict[str, Any]) -> None:
    before = copy.deepcopy(launcher)
    assert launcher_problems(launcher) == []
    assert launcher == before


HEAD, GPUS = "available_node_types.head", "available_node_types.gpu"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (misspell("", "idle_timeout_minutes", "idle_timeout_minute"), "idle_timeout_minute"),
        (misspell(GPUS, "max_workers", "max_worker"), "max_worker"),
        (drop("", "provider"), "provider"),
        (put("", head_node_type="haed"), "head_node_type"),
        (drop(GPUS, "max_workers"), "min_workers and max_workers are both needed"),
        (drop(GPUS, "min_workers"), "min_workers and max_workers are both needed"),
        (put(GPUS, min_workers=5), "smaller than the sum of `min_workers`"),
        (put(f"{GPUS}.resources", GPU=0), "without GPU"),
        (drop(f"{GPUS}.node_config", "InstanceMarketOptions"), "MarketType: spot"),
        (put(f"{HEAD}.node_config", InstanceMarketOptions={"MarketType": "spot"}), "must be on demand"),
        (put(f"{HEAD}.resources", CPU=8), "must take no work"),
        (drop(f"{GPUS}.node_config", "IamInstanceProfile"), "IamInstanceProfile is missing"),
        (put("docker", run_options=["--env RAY_AUTH_MODE=token"]), "--shm-size is missing"),
        (put("docker", run_options=["--shm-size=64g"]), "RAY_AUTH_MODE=token is missing"),
        (put("", setup_commands=["export AWS_SECRET_ACCESS_KEY=x"]), "a credential"),
        (put("", setup_commands=["export RAY_AUTH_TOKEN=0123"]), "a credential"),
    ],
)
def test_a_damaged_cluster_yaml_is_noticed(launcher: dict[str, Any], damage: Callable[..., Any], said: str) -> None:
    damage(launcher)
    assert said in " ".join(launcher_problems(launcher))
