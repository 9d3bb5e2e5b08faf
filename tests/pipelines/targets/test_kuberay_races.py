"""Two submissions of one RayJob that has ended: one starts it again, and the other finds what that one has made."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.submit import submit
from pipelines.targets import kuberay
from pipelines.targets.kuberay import KubeRayJobs
from pipelines.targets.submission import State, Submitted
from tests.kubernetes_api import Api

RAYJOBS = "/apis/ray.io/v1/namespaces/default/rayjobs"
FAILED = {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED"}
RUNNING = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}


def send(kind: type[KubeRayJobs] = KubeRayJobs) -> Submitted:
    base = override(presets.shapes_smoke(), {"cluster.image": "registry.example.com/aunet:1.0.0"})
    targets = {"kuberay": lambda namespace: kind(namespace, poll_seconds=0.01)}
    return submit(base, verb="train", preset="shapes_smoke", base=base, target="kuberay", targets=targets)


def test_a_job_that_the_other_has_started_again_is_left_alone(api: Api) -> None:
    path = f"{RAYJOBS}/{send().submission_id}"
    api.objects[path]["status"] = RUNNING

    class Late(KubeRayJobs):
        """Has looked before the other sent the job again."""

        looks = 0

        def state(self, id: str) -> State | None:
            self.looks += 1
            return State("FAILED") if self.looks == 1 else super().state(id)

    api.asked.clear()
    assert send(Late).status == "RUNNING"
    assert {method for method, _ in api.asked} == {"GET"}


@pytest.mark.parametrize("other", ["has deleted it", "has replaced it"])
def test_a_lost_race_to_delete_is_no_error(api: Api, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{RAYJOBS}/{send().submission_id}"
    ended, real = api.objects[path] | {"status": FAILED}, api.answer
    api.objects[path] = ended
    new = {**ended, "metadata": {**ended["metadata"], "uid": "of the other"}, "status": RUNNING}

    def answer(method: str, url: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        if method == "DELETE":
            assert body is not None and body["propagationPolicy"] == "Foreground"
            del api.objects[path]
            api.objects |= {path: new} if other == "has replaced it" else {}
        return real(method, url, body)

    monkeypatch.setattr(api, "answer", answer)
    monkeypatch.setattr(kuberay, "DELETE_SECONDS", 1.0)
    assert send().status == ("RUNNING" if other == "has replaced it" else "PENDING")
    assert (api.objects[path] is new) == (other == "has replaced it")


def test_the_wait_ends_when_another_is_in_its_place(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{RAYJOBS}/{send().submission_id}"
    api.objects[path]["status"] = FAILED
    old, real = dict(api.objects[path]), api.answer

    def answer(method: str, url: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        result = real(method, url, body)
        if method == "DELETE":
            api.objects[path] = {**old, "metadata": {**old["metadata"], "uid": "of the other"}, "status": RUNNING}
            api.objects[path]["metadata"].pop("deletionTimestamp", None)
        return result

    monkeypatch.setattr(api, "answer", answer)
    monkeypatch.setattr(kuberay, "DELETE_SECONDS", 1.0)
    assert send().status == "RUNNING"
