"""What differs from cluster to cluster: the operator's age, strict servers, queues."""

from __future__ import annotations

import pytest

from aunet.errors import Unavailable
from pipelines import presets
from pipelines.job import job
from pipelines.settings.overrides import override
from pipelines.submit import submit
from pipelines.targets.submission import Submitted
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
