"""What is shown of the log of a RayJob that is waited for."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.submit import submit
from pipelines.targets.kuberay import SKEW_SECONDS, KubeRayJobs
from pipelines.targets.submission import Submitted
from tests.kubernetes_api import Api


def wait(poll_seconds: float = 0.01) -> Submitted:
    base = override(presets.shapes_smoke(), {"cluster.image": "registry.example.com/aunet:1.0.0"})
    targets = {"kuberay": lambda namespace: KubeRayJobs(namespace, poll_seconds=poll_seconds)}
    fixed: dict[str, Any] = {"preset": "shapes_smoke", "base": base, "target": "kuberay", "targets": targets}
    return submit(base, verb="train", wait=True, **fixed)


def logging(api: Api, *logs: str) -> None:
    """Have a job print one more of the logs at each look that is taken at it, and then succeed."""
    seen: list[str] = []

    def operator(rayjob: dict[str, Any]) -> None:
        metadata = {"name": "submitter", "labels": {"job-name": rayjob["metadata"]["name"]}}
        api.objects["/api/v1/namespaces/default/pods/submitter"] = {"metadata": metadata}
        seen.extend(logs[len(seen) : len(seen) + 1])
        api.logs["submitter"] = "".join(f"2026-01-01T00:00:0{n}Z {text}\n" for n, text in enumerate(seen))
        done = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
        rayjob["status"] = done if len(seen) == len(logs) else {"jobDeploymentStatus": "Running"}

    api.operator = operator


def test_a_line_holds_whatever_is_no_end_of_it(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """Progress bars print \r; what follows it was taken for a moment later than any, and nothing more was shown."""
    logs = ["10%\r20%\r30%", "a\x0cb\u2028c", "step 3"]
    logging(api, *logs)
    id = wait().submission_id
    assert "".join(f"{log}\n" for log in logs) in capsys.readouterr().err
    assert KubeRayJobs("default").logs(id) == "".join(f"{log}\n" for log in logs)


def test_after_an_outage_the_log_is_read_from_its_last_line_on(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    logging(api, "step 1", "step 2", "step 3")
    real, spans = api.answer, list[int]()

    def flaky(method: str, url: str, body: Any) -> tuple[int, Any]:
        if "/log?" in url:
            spans.append(int(parse_qs(urlsplit(url).query).get("sinceSeconds", ["0"])[0]))
            if len(spans) in (3, 4):
                return 503, {"message": "not now"}
        return real(method, url, body)

    monkeypatch.setattr(api, "answer", flaky)
    assert wait(poll_seconds=0.7).status == "SUCCEEDED"
    assert len(spans) == 5 and spans[0] == 0, "at first all of it"
    assert SKEW_SECONDS <= spans[1] and spans[1] + 2 <= spans[-1], "three looks later"
