"""What differs from cluster to cluster: the operator's age, strict servers, queues."""

from __future__ import annotations

from typing import Any

import pytest

from aunet.errors import Unavailable
from pipelines import presets
from pipelines.job import job
from pipelines.settings.overrides import override
from pipelines.submit import submit
from pipelines.targets.kuberay import KubeRayJobs, state_of
from pipelines.targets.pods import QUEUE
from pipelines.targets.submission import State, Submitted
from tests.kubernetes_api import Api

RAYJOBS = "/apis/ray.io/v1/namespaces/default/rayjobs"


def send(queue: str = "") -> Submitted:
    base = presets.shapes_smoke()
    config = override(base, {"cluster.image": "registry.example.com/aunet:1.0.0", "cluster.queue": queue})
    return submit(config, verb="train", preset="shapes_smoke", base=base, target="kuberay")


def test_an_operator_that_prunes_the_token_is_noticed(api: Api) -> None:
    api.admit = lambda body: body["spec"]["rayClusterSpec"].pop("authOptions")
    with pytest.raises(Unavailable, match="operator is too old: its RayJobs know no authOptions"):
        send()
    assert ("DELETE", RAYJOBS) in [(method, path.rpartition("/")[0]) for method, path in api.asked]


def test_the_server_is_asked_to_refuse_fields_that_it_does_not_know(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    urls: list[str] = []
    real = api.answer
    monkeypatch.setattr(api, "answer", lambda method, url, body: (urls.append(url), real(method, url, body))[1])
    send()
    assert any("fieldValidation=Strict" in url for url in urls)


def test_a_job_in_a_queue_waits_and_is_stopped_by_deleting_it(api: Api) -> None:
    id = send(queue="research").submission_id
    api.operator = lambda rayjob: rayjob.update(status={"jobDeploymentStatus": "Suspended"})
    state = job(id=id, target="kuberay").state
    assert (state.status, state.message) == ("PENDING", "waits in the queue research")
    job(id=id, target="kuberay", stop=True)
    assert not [path for path in api.objects if path.startswith(RAYJOBS)]


def test_a_job_that_was_just_stopped_is_sent_again(api: Api) -> None:
    """The operator takes its time to suspend it, and the RayJob says Running meanwhile."""
    api.operator = lambda rayjob: rayjob.update(status={"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"})
    id = send().submission_id
    assert job(id=id, target="kuberay", stop=True).state == State("STOPPED", "being suspended")
    api.asked.clear()
    api.lingering = 3  # until the operator has suspended it and taken its finalizer away
    assert send().sent
    assert [method for method, _ in api.asked if method != "GET"] == ["DELETE", "POST"]
    assert "suspend" not in api.objects[f"{RAYJOBS}/{id}"]["spec"]


@pytest.mark.parametrize(
    ("labels", "status", "want"),
    [
        ({}, {"jobDeploymentStatus": "Retrying"}, "STOPPED"),
        ({}, {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, "SUCCEEDED"),
        ({}, {"jobDeploymentStatus": "Failed"}, "FAILED"),
        ({QUEUE: "research"}, {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, "RUNNING"),
        ({QUEUE: "research"}, {}, "PENDING"),
    ],
)
def test_who_asks_for_a_suspension_decides_what_it_means(
    labels: dict[str, str], status: dict[str, str], want: str
) -> None:
    """Kueue suspends and resumes jobs by itself; one that has ended is no other for it."""
    assert state_of({"metadata": {"labels": labels}, "spec": {"suspend": True}, "status": status}).status == want


EVENTS = "/api/v1/namespaces/default/events"


def starting(api: Api, id: str, *reasons: str, looks: int = 3) -> None:
    """Have a job start while `looks` are taken at it, with events of its cluster, in order; then it succeeds."""
    for number, reason in enumerate(reasons):
        api.objects[f"{EVENTS}/{number}"] = {
            "metadata": {"name": str(number)},
            "involvedObject": {"kind": "RayCluster", "name": id},
            "type": "Warning" if reason.startswith("Failed") else "Normal",
            "reason": reason,
            "lastTimestamp": f"2026-01-01T00:00:{number:02}Z",
        }
    seen: list[int] = []

    def operator(rayjob: dict[str, Any]) -> None:
        seen.append(1)
        done = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
        rayjob["status"] = {"jobDeploymentStatus": "Initializing"} if len(seen) <= looks else done

    api.operator = operator


def test_a_job_is_not_stopped_for_what_is_over(api: Api) -> None:
    id = send().submission_id
    starting(api, id, "FailedToCreateHeadPod", "CreatedHeadPod")
    jobs = KubeRayJobs("default", poll_seconds=0, trouble_seconds=0)
    assert jobs.follow(id).status == "SUCCEEDED"
    starting(api, id, "CreatedHeadPod", "FailedToCreateWorkerPod")
    state = jobs.follow(id)
    assert state.status == "FAILED" and state.message.endswith("correct what it names (the job was stopped)")
    assert api.objects[f"{RAYJOBS}/{id}"]["spec"]["suspend"] is True


@pytest.mark.parametrize("which", ["events", "pods"])
def test_pods_that_cannot_be_looked_at_for_a_moment_end_no_wait(
    which: str, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = send().submission_id
    starting(api, id)
    real, asked = api.answer, [0]

    def flaky(method: str, url: str, body: Any) -> tuple[int, Any]:
        asked[0] += f"/{which}" in url
        refused = f"/{which}" in url and asked[0] % 2 == 0
        return (503, {"message": "not now"}) if refused else real(method, url, body)

    monkeypatch.setattr(api, "answer", flaky)
    assert KubeRayJobs("default", poll_seconds=0).follow(id).status == "SUCCEEDED"
    assert asked[0] > 1, "the failures were never met"
