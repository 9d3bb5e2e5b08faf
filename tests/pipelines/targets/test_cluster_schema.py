"""RayJobs and CronJobs are checked without a cluster, and the checks notice what they are for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest

from aunet.errors import InputError
from pipelines.targets.cluster_schema import check_rayjob, rayjob_problems
from tests.damages import at, documents, drop, misspell, put

KUBERNETES = "1.31"


@pytest.fixture
def rayjob() -> dict[str, Any]:
    return documents("jobs/rayjob.yaml")[0]


CLUSTER = "spec.rayClusterSpec"
GROUP = f"{CLUSTER}.workerGroupSpecs.0"
POD = f"{GROUP}.template.spec"
RESOURCES = f"{POD}.containers.0.resources"


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
    ("damage", "message"),
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
        (put(f"{CLUSTER}.headGroupSpec.rayStartParams", **{"num-cpus": "8"}), "the head must run no work"),
        (drop(f"{CLUSTER}", "authOptions"), "'authOptions' is a required property"),
        (put(f"{CLUSTER}.authOptions", mode="disabled"), "'token' was expected"),
        (put(f"{POD}.volumes.0.emptyDir", medium=""), "'Memory' was expected"),
        (put(POD, terminationGracePeriodSeconds=30), "leave time to drain"),
        (put("spec", shutdownAfterJobFinishes=False), "True was expected"),
        (put("metadata", name="train-" + "x" * 50), "is too long"),
        (put("metadata", name="Train_1"), "does not match"),
    ],
)
def test_a_damaged_rayjob_is_noticed(rayjob: dict[str, Any], damage: Callable[..., Any], message: str) -> None:
    damage(rayjob)
    problems = rayjob_problems(rayjob)
    assert len(problems) >= 1 and message in " ".join(problems)
    with pytest.raises(InputError, match="RayJob: "):
        check_rayjob(rayjob)


def test_a_toleration_of_everything_has_no_key(rayjob: dict[str, Any]) -> None:
    """As `cluster.patch` may have it."""
    everything = [{"operator": "Exists"}]
    put(POD, tolerations=everything)(rayjob)
    check_rayjob(rayjob, is_patched=True)
    put(GROUP, groupName="more")(rayjob)
    check_rayjob(rayjob, is_patched=True)


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
