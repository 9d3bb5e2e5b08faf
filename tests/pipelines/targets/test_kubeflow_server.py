"""Pipelines sent to a stand-in for Kubeflow's API: once, as a version, with a token; their state; recurring runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from aunet.errors import InputError, Unavailable
from pipelines import presets
from pipelines.job import job
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.submit import submit
from pipelines.targets import kubeflow
from pipelines.targets.submission import Submitted
from pipelines.targets.waiting import MAX_FAILED_POLLS
from tests.canaries import CANARY, leaks

IMAGES = {
    "cluster.image": "registry.example.com/aunet:1.0.0",
    "cluster.step_image": "registry.example.com/aunet-pipeline:1.0.0",
}


def coco(changes: dict[str, Any] | None = None) -> RunConfig:
    return override(presets.coco_r50(), {**IMAGES, **(changes or {})})


def send(config: RunConfig | None = None, verb: str = "run") -> Submitted:
    return kubeflow.submit_pipeline(
        config or coco({"data.root": "s3://datasets/coco"}), "coco_r50", verb, presets.coco_r50()
    )


@pytest.mark.parametrize(("verb", "message"), [("train", "submit run coco_r50"), ("run", "KF_PIPELINES_ENDPOINT")])
def test_what_cannot_be_sent_is_reported(verb: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    with pytest.raises(InputError, match=message):
        send(verb=verb)


def test_a_server_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match=r"KF_PIPELINES_ENDPOINT = http://127.0.0.1:9: .*refused.*; start Kubeflow"):
        send()


class PipelinesServer(BaseHTTPRequestHandler):
    """As much of the Kubeflow Pipelines API as a submission meets."""

    runs: list[dict[str, Any]]
    recurring: list[dict[str, Any]]
    pipelines: list[tuple[str, str]]
    """Name and namespace; those of no namespace are shared. The id of the first is p1."""
    versions: list[str]
    asked: list[tuple[str, str, str]]
    """Method, path and the caller's Authorization."""
    multi_user = False
    failing = 0
    """How many looks at runs it does not answer."""

    def do_GET(self) -> None:
        self.note()
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        predicates = json.loads(query["filter"][0])["predicates"] if "filter" in query else [{}]
        name = predicates[0].get("stringValue", predicates[0].get("string_value"))
        if path.endswith("/runs") and self.failing:
            type(self).failing -= 1
            self.answer({"message": "not now"}, 503)
        elif path.endswith("/runs"):
            self.answer({"runs": [run for run in reversed(self.runs) if run["display_name"] == name]})
        elif path.endswith("/recurringruns"):
            self.answer({"recurringRuns": [run for run in self.recurring if run["display_name"] == name]})
        elif path.endswith("/versions"):
            versions = [{"pipeline_id": "p1", "pipeline_version_id": v} for v in self.versions if v == name]
            self.answer({"pipeline_versions": versions})
        elif path.endswith("/pipelines"):
            asked = (name, query.get("namespace", [""])[0])
            numbers = [number for number, pipeline in enumerate(self.pipelines, 1) if pipeline == asked]
            self.answer({"pipelines": [{"pipeline_id": f"p{number}", "display_name": name} for number in numbers]})
        elif path.startswith("/apis/v2beta1/experiments"):
            self.answer({"experiments": [{"experiment_id": "e1", "display_name": "aunet"}]})
        else:
            self.answer({"multi_user": self.multi_user})

    def do_POST(self) -> None:
        self.note()
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path.endswith("/upload"):
            pipeline = (query["name"][0], query.get("namespace", [""])[0])
            if pipeline in self.pipelines:
                self.answer({"error": f"Already exist error: the name {pipeline[0]} already exists"}, 409)
                return
            self.pipelines.append(pipeline)
            self.versions.append("first")
            self.answer({"pipeline_id": f"p{len(self.pipelines)}"})
        elif path.endswith("/upload_version"):
            self.versions.append(query["name"][0])
            self.answer({"pipeline_id": "p1", "pipeline_version_id": query["name"][0]})
        elif path.endswith(":terminate"):
            next(run for run in self.runs if run["run_id"] in path)["state"] = "CANCELED"
            self.answer({})
        elif path.endswith("/runs"):
            self.runs.append({"run_id": f"r{len(self.runs)}", "state": "PENDING", **json.loads(body)})
            self.answer(self.runs[-1])
        elif path.endswith("/recurringruns"):
            if "0 3 31 2 *" in str(json.loads(body)["trigger"]):  # which never comes
                self.send_error(400)
                return
            made = {"recurring_run_id": f"q{len(self.asked)}", "status": "ENABLED", **json.loads(body)}
            self.recurring.append(made)
            self.answer(made)
        else:
            self.answer({"experiment_id": "e1"})

    def do_DELETE(self) -> None:
        self.note()
        self.recurring[:] = [run for run in self.recurring if not self.path.endswith(run["recurring_run_id"])]
        self.answer({})

    def note(self) -> None:
        self.asked.append((self.command, self.path, self.headers.get("Authorization") or ""))

    def answer(self, content: dict[str, Any], status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[PipelinesServer]]:
    """A Kubeflow Pipelines server that KF_PIPELINES_ENDPOINT names."""
    monkeypatch.setenv("HOME", str(tmp_path))
    empty = {name: [] for name in ("runs", "recurring", "pipelines", "versions", "asked")}
    handler = type("Handler", (PipelinesServer,), empty)
    listener = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"http://127.0.0.1:{listener.server_port}")
    yield handler
    listener.shutdown()


def test_the_same_settings_twice_are_one_run(server: type[PipelinesServer], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"AUNET_STORE = .*every step reaches"):
        send()
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    for changes in ({"cluster.step_image": ""}, {"cluster.image": "aunet:latest"}, {"data.root": "data/coco"}):
        with pytest.raises(InputError, match=next(iter(changes)).replace(".", r"\.")):
            send(coco({"data.root": "s3://datasets/coco", **changes}))
    first, sent = send(), server.runs
    assert (first.status, first.sent) == ("PENDING", True)
    assert list(first.to_json()) == ["submission_id", "target", "status", "run_id", "sent"]
    assert sent[0]["display_name"] == first.submission_id
    assert sent[0]["runtime_config"]["parameters"]["preset"] == "coco_r50"
    assert sent[0]["service_account"] == "aunet"
    assert sent[0]["pipeline_version_reference"] == {"pipeline_id": "p1", "pipeline_version_id": server.versions[1]}
    again = send()
    assert (again.run_id, again.sent, len(sent)) == (first.run_id, False, 1)
    sent[0]["state"] = "FAILED"
    assert send().sent and len(server.versions) == 2, "the version is uploaded once"
    assert send(replace(coco({"data.root": "s3://d/coco"}), version="2")).submission_id != first.submission_id


def test_a_run_has_a_state_and_can_be_stopped(
    server: type[PipelinesServer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    id = send().submission_id
    assert job(id=id, target="kubeflow").state.status == "PENDING"
    stopped = job(id=id, target="kubeflow", stop=True, logs=True)
    assert stopped.state.status == "STOPPED" and "/#/runs/details/r0" in stopped.text
    monkeypatch.setenv("AUNET_STORE", str(tmp_path))  # it is asked too, and there is no bucket
    with pytest.raises(InputError, match="no such job on target kubeflow"):
        job(id="run-x-0", target="kubeflow")


def test_a_lost_server_is_asked_again(
    server: type[PipelinesServer], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    id = send().submission_id
    server.runs[0]["state"] = "SUCCEEDED"
    jobs = kubeflow.KubeflowJobs("default", poll_seconds=0)
    server.failing = MAX_FAILED_POLLS - 1
    assert jobs.follow(id).status == "SUCCEEDED" and server.failing == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.endswith("; trying again") for line in lines[-MAX_FAILED_POLLS:]] == [True] * 4 + [False]
    assert lines[-1] == f"{id} · SUCCEEDED"
    server.failing = MAX_FAILED_POLLS
    with pytest.raises(Unavailable, match="503"):
        jobs.follow(id)


def test_several_users_have_a_token_and_a_namespace(
    server: type[PipelinesServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    monkeypatch.setenv("KF_PIPELINES_TOKEN", "a-token")
    server.multi_user = True
    config = coco({"data.root": "s3://datasets/coco", "cluster.namespace": "vision"})
    first = send(config)
    again = send(replace(config, version="2"))
    assert first.sent and again.sent and again.run_id != first.run_id
    assert server.pipelines == [("aunet", "vision")], "a private pipeline is found again"
    assert {token for _, _, token in server.asked} == {"Bearer a-token"}
    assert any(
        "namespace=vision" in path for method, path, _ in server.asked if "/runs" in path or "/experiments" in path
    )


def test_a_schedule_is_one_recurring_run(server: type[PipelinesServer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    send(verb="retrain")
    result = send(verb="retrain")
    (recurring,) = server.recurring
    assert (result.status, recurring["display_name"]) == ("SCHEDULED", "retrain-coco_r50")
    assert recurring["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
    assert recurring["max_concurrency"] == 1 and recurring["no_catchup"] is True
    assert job(id="retrain-coco_r50", target="kubeflow").state.status == "SCHEDULED"


def test_a_schedule_that_is_refused_leaves_the_one_before(
    server: type[PipelinesServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    send(verb="retrain")
    with pytest.raises(Unavailable):
        send(coco({"data.root": "s3://datasets/coco", "cluster.schedule": "0 3 31 2 *"}), verb="retrain")
    (recurring,) = server.recurring
    assert recurring["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"


@pytest.mark.parametrize("endpoint", ["ftp://host", f"https://me:{CANARY}@host", "http://host:x"])
def test_an_endpoint_that_is_no_server_is_refused(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", endpoint)
    base = presets.shapes_smoke()
    with pytest.raises(InputError, match="KF_PIPELINES_ENDPOINT") as refused:
        submit(base, verb="run", preset="shapes_smoke", base=base, target="kubeflow")
    assert leaks(str(refused.value)) == []
