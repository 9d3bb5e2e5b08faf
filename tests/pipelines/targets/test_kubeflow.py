"""The Kubeflow pipeline: what is compiled, what is sent, and what its steps call."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from aunet.errors import InputError, Unavailable
from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.submit import submit
from pipelines.targets import kubeflow, steps
from pipelines.targets.submission import Submitted
from tests.canaries import CANARY, leaks

GOLDEN = Path(__file__).parents[3] / "jobs" / "kubeflow_pipeline.yaml"


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    """The pipeline and its platform part, compiled."""
    return list(yaml.safe_load_all(kubeflow.compile_pipeline(presets.coco_r50())))


def test_the_compiled_pipeline_is_the_one_in_the_repository() -> None:
    compiled = kubeflow.compile_pipeline(presets.coco_r50())
    assert GOLDEN.read_text() == compiled, (
        "drifted; look at the difference, then: python -m jobs submit run coco_r50 --target kubeflow --dry-run"
    )


def test_every_step_runs_in_our_image_uncached_with_credentials_by_reference(documents: list[dict[str, Any]]) -> None:
    pipeline, platform = documents
    executors = pipeline["deploymentSpec"]["executors"]
    assert {e["container"]["image"] for e in executors.values()} == {"aunet:latest"}
    assert all("pip install" not in json.dumps(e["container"]) for e in executors.values())
    dags = [pipeline["root"], *pipeline["components"].values()]
    tasks = [task for d in dags for task in d.get("dag", {}).get("tasks", {}).values()]
    leaves = [t for t in tasks if "dag" not in pipeline["components"][t["componentRef"]["name"]]]
    assert len(leaves) == 7 and not any(t["cachingOptions"].get("enableCache") for t in leaves)
    secrets = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(secrets) == set(executors)
    for entry in secrets.values():
        (secret,) = entry["secretAsEnv"]
        assert secret["secretName"] == "aunet" and secret["optional"] is True


def test_the_image_and_the_secret_come_from_the_configuration() -> None:
    config = override(presets.coco_r50(), {"cluster.image": "registry.example/aunet:7", "cluster.secret": "keys"})
    pipeline, platform = yaml.safe_load_all(kubeflow.compile_pipeline(config))
    assert all(e["container"]["image"].endswith("aunet:7") for e in pipeline["deploymentSpec"]["executors"].values())
    assert '"secretName": "keys"' in json.dumps(platform)


def test_the_arguments_hold_what_differs_from_the_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    config = override(presets.coco_r50(), {"train.epochs": 3})
    assert kubeflow.pipeline_arguments(config, "coco_r50", presets.coco_r50(), tune=True) == {
        "preset": "coco_r50",
        "overrides": '{"train.epochs": 3}',
        "store": "s3://bucket/store",
        "tune": True,
    }


def send(config: RunConfig | None = None, verb: str = "run") -> Submitted:
    return kubeflow.submit_pipeline(config or presets.coco_r50(), "coco_r50", verb, presets.coco_r50())


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

    def do_GET(self) -> None:
        if self.path.startswith("/apis/v2beta1/runs"):
            self.answer({"runs": self.runs})
        elif self.path.startswith("/apis/v2beta1/experiments"):
            self.answer({"experiments": [{"experiment_id": "e1", "display_name": "aunet"}]})
        else:
            self.answer({"multi_user": False})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.startswith("/apis/v2beta1/runs"):
            self.runs.append({"run_id": f"r{len(self.runs)}", "state": "PENDING", **body})
            self.answer(self.runs[-1])
        else:
            self.answer({"experiment_id": "e1"})

    def answer(self, content: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[dict[str, Any]]]:
    """Runs that reached a Kubeflow Pipelines server."""
    monkeypatch.setenv("HOME", str(tmp_path))
    handler = type("Handler", (PipelinesServer,), {"runs": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield handler.runs
    server.shutdown()


def test_the_same_settings_twice_are_one_run(sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"AUNET_STORE = .*every step reaches"):
        send()
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    first = send()
    assert (first.status, first.sent) == ("PENDING", True)
    assert list(first.to_json()) == ["submission_id", "target", "status", "run_id", "sent"]
    assert sent[0]["display_name"] == first.submission_id
    assert sent[0]["runtime_config"]["parameters"]["preset"] == "coco_r50"
    assert sent[0]["service_account"] == "aunet"
    again = send()
    assert (again.run_id, again.sent, len(sent)) == (first.run_id, False, 1)
    sent[0]["state"] = "FAILED"
    assert send().sent
    assert send(replace(presets.coco_r50(), version="2")).submission_id != first.submission_id


STEPS = """
import json, os

def note(*words):
    with open(os.environ["NOTES"], "a") as file:
        file.write(json.dumps(words) + "\\n")

def run_step(verb, preset, overrides, target, store):
    note(verb, overrides)
    if verb == os.environ.get("FAILS"):
        raise RuntimeError("no")
    return {"uri": verb, "overrides": "found", "html_uri": "page", "PQ": 40.0, "metrics": {"PQ": 40.0}}

def merged_overrides(overrides, tuned_uri):
    return tuned_uri

def record_outcome(state, message, preset, store):
    note("outcome", state)
"""


@pytest.mark.parametrize(
    ("arguments", "fails", "expected"),
    [
        (
            {},
            "",
            [["preprocess", "{}"], ["train", "{}"], ["evaluate", "{}"], ["register", "{}"], ["outcome", "SUCCEEDED"]],
        ),
        (
            {"tune": True, "min_pq": 50.0},
            "",
            [["preprocess", "{}"], ["tune", "{}"], ["train", "found"], ["evaluate", "found"], ["outcome", "SUCCEEDED"]],
        ),
        ({}, "train", [["preprocess", "{}"], ["train", "{}"], ["outcome", "FAILED"]]),
    ],
    ids=["plain", "tuned, not good enough", "failing"],
)
def test_conditions_and_exit_handler(
    arguments: dict[str, Any], fails: str, expected: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real pipeline in kfp's local runner, its steps replaced by ones that only take notes."""
    (tmp_path / "pipelines/targets").mkdir(parents=True)
    for package in ("pipelines", "pipelines/targets"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "pipelines/targets/steps.py").write_text(STEPS)
    monkeypatch.chdir(tmp_path)
    for name, value in {"PYTHONPATH": "", "NOTES": str(tmp_path / "notes"), "FAILS": fails}.items():
        monkeypatch.setenv(name, value)
    given = {"preset": "coco_r50", "store": "store", **arguments}
    with pytest.raises(RuntimeError, match="FAILURE") if fails else contextlib.nullcontext():
        kubeflow.run_here(presets.coco_r50(), given, root=tmp_path)
    assert [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()] == expected


def test_a_step_asks_for_the_result_of_a_finished_job() -> None:
    called: list[list[str]] = []

    def command(words: list[str], environment: dict[str, str]) -> dict[str, Any]:
        called.append(words)
        assert environment["AUNET_STORE"] == "s3://bucket"
        return {"uri": "s3://bucket/runs/x"}

    result = steps.run_step("train", "coco_r50", "{}", "kuberay", "s3://bucket", command)
    words = ["coco_r50", "--overrides", "{}"]
    assert called == [["submit", "train", *words, "--target", "kuberay", "--wait"], ["train", *words]]
    assert result == {"uri": "s3://bucket/runs/x"}


def test_a_step_that_fails_names_its_command(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"python -m jobs train nobody .*: exit code 2"):
        steps.run_step("train", "nobody", "{}", "local", str(tmp_path))


def test_found_weights_are_laid_over_the_settings(tmp_path: Path) -> None:
    (tmp_path / "overrides.json").write_text('{"loss.semantic": 0.5}')
    merged = steps.merged_overrides('{"loss.semantic": 1.0, "train.epochs": 3}', str(tmp_path / "overrides.json"))
    config: RunConfig = override(presets.coco_r50(), json.loads(merged))
    assert (config.loss.semantic, config.train.epochs) == (0.5, 3)


def test_the_outcome_is_in_the_store(tmp_path: Path) -> None:
    steps.record_outcome("FAILED", "train: exit code 1", "coco_r50", str(tmp_path))
    outcome = json.loads((tmp_path / "pipelines" / "coco_r50.json").read_text())
    assert outcome == {"preset": "coco_r50", "state": "FAILED", "message": "train: exit code 1"}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"loss.semantic": NaN}'])
def test_damaged_overrides_of_a_search_are_one_line(content: str, tmp_path: Path) -> None:
    path = tmp_path / "overrides.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"overrides\.json: .*; run `tune` again"):
        steps.merged_overrides("{}", str(path))


@pytest.mark.parametrize("endpoint", ["ftp://host", f"https://me:{CANARY}@host", "http://host:x"])
def test_an_endpoint_that_is_no_server_is_refused(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", endpoint)
    base = presets.shapes_smoke()
    with pytest.raises(InputError, match="KF_PIPELINES_ENDPOINT") as refused:
        submit(base, verb="run", preset="shapes_smoke", base=base, target="kubeflow")
    assert leaks(str(refused.value)) == []
