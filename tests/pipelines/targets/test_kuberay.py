"""RayJobs and schedules against a small API server: what is sent, in which order, and what becomes of the answers."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError, Unavailable
from jobs.__main__ import main
from pipelines import presets
from pipelines.job import job
from pipelines.settings.overrides import override
from pipelines.submit import submit
from pipelines.targets.kuberay import KubeRayJobs, state_of
from pipelines.targets.submission import Jobs, State, Submitted
from tests.canaries import CANARY, leaks
from tests.kubernetes_api import Api, api_server

RAYJOBS = "/apis/ray.io/v1/namespaces/default/rayjobs"
CRONJOBS = "/apis/batch/v1/namespaces/default/cronjobs"


TARGETS = {"kuberay": lambda namespace: KubeRayJobs(namespace, poll_seconds=0.01)}


def send(verb: str = "train", targets: Mapping[str, Callable[[str], Jobs]] = TARGETS, **options: Any) -> Submitted:
    base = override(presets.shapes_smoke(), {"cluster.image": "registry.example.com/aunet:1.0.0"})
    fixed: dict[str, Any] = {"preset": "shapes_smoke", "base": base, "target": "kuberay", "targets": targets}
    return submit(base, verb=verb, **fixed, **options)


def the_rayjob(api: Api) -> dict[str, Any]:
    (rayjob,) = [body for path, body in api.objects.items() if path.startswith(RAYJOBS)]
    return rayjob


def test_a_job_is_sent_once(api: Api) -> None:
    result = send()
    assert result.sent and result.status == "PENDING"
    assert the_rayjob(api)["metadata"]["name"] == result.submission_id
    assert send() == replace(result, sent=False)
    assert [asked for asked in api.asked if asked[0] == "POST"] == [("POST", RAYJOBS)]


@pytest.mark.parametrize(("ended", "verb", "again"), [("FAILED", "train", True), ("SUCCEEDED", "train", False)])
def test_only_what_failed_is_sent_again(api: Api, ended: str, verb: str, again: bool) -> None:
    send(verb)
    deployed = "Failed" if ended == "FAILED" else "Complete"
    the_rayjob(api)["status"] = {"jobDeploymentStatus": deployed, "jobStatus": ended}
    api.asked.clear()
    api.lingering = 3  # until the operator has taken its finalizer away
    assert send(verb).sent == again
    changes = [method for method, _ in api.asked if method != "GET"]
    assert changes == (["DELETE", "POST"] if again else [])
    assert ("status" in the_rayjob(api)) != again


def test_a_tick_that_has_succeeded_makes_way_for_the_next(api: Api) -> None:
    send("retrain", now=True)
    the_rayjob(api)["status"] = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
    assert send("retrain", now=True).sent
    assert "status" not in the_rayjob(api)


def test_of_two_submissions_at_once_one_is_enough(api: Api) -> None:
    first = send()

    class Late(KubeRayJobs):
        """Sees nothing of the other submission before it has sent its own."""

        def state(self, id: str) -> State | None:
            return super().state(id) if api.asked else None

        def _get(self, id: str) -> dict[str, Any] | None:
            return super()._get(id) if ("POST", RAYJOBS) in api.asked else None

    api.asked.clear()
    assert send(targets={"kuberay": Late}).submission_id == first.submission_id
    assert ("POST", RAYJOBS) in api.asked and len(api.objects) == 1


def test_waiting_shows_the_log_and_returns_the_code(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    stages = [
        {"jobDeploymentStatus": "Initializing"},
        {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"},
        {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"},
        {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed", "message": "exit code 2"},
    ]
    seen: list[dict[str, str]] = []

    def operator(rayjob: dict[str, Any]) -> None:
        rayjob["status"] = stages[min(len(seen), 3)]
        seen.append(rayjob["status"])
        name = rayjob["metadata"]["name"]
        pod = {
            "metadata": {"name": "submitter", "labels": {"job-name": name}, "creationTimestamp": "2026-01-01T00:00:00Z"}
        }
        api.objects["/api/v1/namespaces/default/pods/submitter"] = pod
        api.logs["submitter"] = "".join(f"2026-01-01T00:00:0{n}Z step {n}\n" for n in range(1, len(seen) + 1))

    api.operator = operator
    result = send(wait=True)
    assert (result.status, result.exit_code) == ("FAILED", 1)
    assert result.message == "AppFailed exit code 2"
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("step")] == [f"step {n}" for n in range(1, len(seen) + 1)]
    out = io.StringIO()
    assert main(["job", "--id", result.submission_id, "--target", "kuberay", "--logs"], out) == 0
    assert out.getvalue().splitlines()[0] == "step 1"


def test_a_lost_api_server_is_asked_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.operator = lambda rayjob: rayjob.update(status={"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"})
    answers, real = iter([503, 503]), api.answer

    def flaky(method: str, url: str, body: Any) -> tuple[int, Any]:
        status = next(answers, None) if api.asked and api.asked[-1][0] == "POST" else None
        return (status, {"message": "not now"}) if status else real(method, url, body)

    monkeypatch.setattr(api, "answer", flaky)
    assert send(wait=True).to_json()["exit_code"] == 0
    assert next(answers, None) is None, "the failures were never met"


def test_a_job_is_stopped_by_suspending_it(api: Api) -> None:
    id = send().submission_id
    api.operator = lambda rayjob: rayjob.update(
        status={"jobDeploymentStatus": "Suspended" if rayjob["spec"].get("suspend") else "Running"}
    )
    assert job(id=id, target="kuberay", stop=True).state.status == "STOPPED"
    assert send().sent, "a stopped job is sent again"
    assert "suspend" not in the_rayjob(api)["spec"]


@pytest.mark.parametrize(
    ("status", "want"),
    [
        ({}, "PENDING"),
        ({"jobDeploymentStatus": "Initializing"}, "PENDING"),
        ({"jobDeploymentStatus": "Running", "jobStatus": "PENDING"}, "PENDING"),
        ({"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, "RUNNING"),
        ({"jobDeploymentStatus": "Retrying"}, "PENDING"),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, "SUCCEEDED"),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"}, "STOPPED"),
        ({"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded"}, "FAILED"),
        ({"jobDeploymentStatus": "Suspending"}, "STOPPED"),
    ],
)
def test_the_operators_words_in_rays(status: dict[str, str], want: str) -> None:
    assert state_of({"metadata": {}, "status": status}).status == want


def test_retrain_becomes_a_schedule(api: Api) -> None:
    result = send("retrain")
    kinds = [path.split("/")[-2] for path in api.objects]
    assert kinds == ["serviceaccounts", "roles", "rolebindings", "cronjobs"]
    cron = api.objects[f"{CRONJOBS}/retrain-shapes-smoke"]
    assert result.cron_job == "retrain-shapes-smoke" and result.status == "SCHEDULED"
    assert list(result.to_json()) == ["submission_id", "target", "cron_job", "status", "sent"]
    for id in (result.submission_id, "retrain-shapes-smoke"):
        assert job(id=id, target="kuberay").state.status == "SCHEDULED"
    job(id="retrain-shapes-smoke", target="kuberay", stop=True)
    assert cron["spec"]["suspend"] is True
    api.asked.clear()
    send("retrain")  # again: replaced, the account left as it is, and suspended no more
    assert [path.split("/")[-2] for method, path in api.asked if method == "PUT"] == [
        "roles",
        "rolebindings",
        "cronjobs",
    ]
    assert "suspend" not in api.objects[f"{CRONJOBS}/retrain-shapes-smoke"]["spec"]


def test_a_tick_runs_while_it_is_scheduled(api: Api) -> None:
    scheduled = send("retrain")
    tick = send("retrain", now=True)
    assert tick.sent and tick.submission_id == scheduled.submission_id


@pytest.mark.parametrize(
    ("method", "status", "cure"),
    [
        ("GET", 401, "log in again"),
        ("POST", 403, "ask for the right"),
        ("POST", 404, "install the KubeRay operator"),
        ("POST", 422, "correct what it names"),
    ],
)
def test_what_the_server_refuses_is_one_line(api: Api, method: str, status: int, cure: str) -> None:
    api.refuse[method] = status
    with pytest.raises(Unavailable, match=f"Kubernetes answered {status}: {method} is not for you; {cure}") as refused:
        send()
    assert "\n" not in str(refused.value)


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    with api_server(tmp_path) as (_, config):
        monkeypatch.setenv("KUBECONFIG", config)
    with pytest.raises(Unavailable, match="the Kubernetes API server does not answer"):
        send()


def test_a_job_that_is_deleted_is_not_waited_for(api: Api) -> None:
    api.operator = lambda rayjob: rayjob["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z")
    id = send().submission_id
    api.objects.pop(f"{RAYJOBS}/{id}", None)
    with pytest.raises(Unavailable, match=f"{id}: the RayJob was deleted"):
        KubeRayJobs("default", poll_seconds=0.01).follow(id)


def test_no_cluster_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(InputError, match="set KUBECONFIG"):
        send()
    config = json.dumps({"clusters": [], "contexts": [], "users": [], "current-context": ""})
    (tmp_path / "none").write_text(config)
    with pytest.raises(InputError, match="set KUBECONFIG"):
        send()


def test_a_dry_run_needs_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert "kind: RayJob" in send(dry_run=True).text
    assert list(send(dry_run=True).to_json()) == ["submission_id", "target"]
    assert send("retrain", dry_run=True).text.count("\nkind: ") == 4


GOOD = {
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    "clusters": [{"name": "k", "cluster": {"server": "https://host"}}],
    "users": [{"name": "u", "user": {"token": CANARY}}],
}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "7",
        f"users: [{CANARY}",
        f"\x00{CANARY}",
        b"\xff\xfe",
        json.dumps({**GOOD, "clusters": 7}),
        json.dumps({**GOOD, "clusters": [{"name": "k", "cluster": {"server": 7}}]}),
        json.dumps({**GOOD, "clusters": [{"name": "k", "cluster": {"server": f"https://me:{CANARY}@host"}}]}),
        json.dumps({**GOOD, "clusters": [{"name": "k", "cluster": {"server": "https://h:99999"}}]}),
        json.dumps(
            {
                **GOOD,
                "clusters": [{"name": "k", "cluster": {"server": "https://h", "certificate-authority-data": CANARY}}],
            }
        ),
        json.dumps({**GOOD, "contexts": [{"name": "c", "context": {"cluster": "other", "user": "u"}}]}),
        json.dumps({**GOOD, "users": [{"name": "u", "user": {"exec": {"command": "/nowhere/x", "apiVersion": "v1"}}}]}),
        "[" * 5000,
        "&a [*a, *a]",
    ],
)
def test_a_broken_kubeconfig_is_one_line(content: str | bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds tokens, so that no message may quote it."""
    path = tmp_path / "kubeconfig"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises((InputError, Unavailable), match=r"KUBECONFIG|Kubernetes") as refused:
        send()
    assert "\n" not in str(refused.value) and leaks(str(refused.value)) == []


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_a_kubeconfig_that_is_not_a_file_is_one_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kubeconfig"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(InputError, match="is not an ordinary file; name the file itself"):
        send()
