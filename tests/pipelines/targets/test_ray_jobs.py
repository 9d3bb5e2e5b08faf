"""Ray's Jobs API: what a job server is asked, and what is reported when it does not answer as hoped.

`tests/end_to_end/test_ray_job.py` does the same on a real cluster.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import zipfile
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import yaml
from ray._private.runtime_env.packaging import create_package

from aunet.errors import InputError, Unavailable
from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.targets.ray_jobs import EXCLUDES, ROOT, RayJobs
from pipelines.targets.submission import submission
from pipelines.targets.waiting import MAX_FAILED_POLLS


class Server(BaseHTTPRequestHandler):
    """As much of a job server as a dry run asks for, on a node called `hostname`."""

    hostname, status = "node-1", 200
    jobs: ClassVar[list[dict[str, Any]]] = []
    proxied = 0
    """How many questions about jobs a proxy answers, with 502; it lets no WebSocket through."""

    def do_GET(self) -> None:
        body: Any = {"ray_version": "2.60.0"} if self.path == "/api/version" else {}
        status = self.status
        if self.path.startswith("/nodes"):
            body = {"data": {"summary": [{"hostname": self.hostname}]}}
        if self.path.startswith("/api/jobs/"):
            body = self.jobs
            if self.proxied or self.path.endswith("/tail"):
                type(self).proxied -= not self.path.endswith("/tail")
                body, status = "Bad Gateway", 502
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    kind = type("OneServer", (Server,), {})
    http = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setenv("RAY_ADDRESS", f"http://127.0.0.1:{http.server_port}")
    yield kind
    http.shutdown()
    http.server_close()


def request(config: RunConfig | None = None) -> dict:
    base = presets.shapes_smoke()
    job = submission(config or base, verb="train", preset="shapes_smoke", base=base)
    return yaml.safe_load(RayJobs().render(job))


def test_on_this_machine_the_job_has_this_interpreter_and_store(
    server: type[Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.hostname = socket.gethostname()
    monkeypatch.delenv("AUNET_STORE")
    monkeypatch.delenv("AUNET_SAMPLE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    asked = request()
    assert asked["entrypoint"].startswith(f"{sys.executable} -m pipelines.targets.entry train shapes_smoke")
    assert asked["runtime_env"]["env_vars"] == {
        "AUNET_JOB": asked["submission_id"],
        "AUNET_STORE": f"{tmp_path}/store",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/store/mlflow.db",
    }


def test_behind_a_tunnel_the_cluster_has_its_own(server: type[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    monkeypatch.delenv("AUNET_SAMPLE_DATA", raising=False)
    asked = request()
    assert asked["entrypoint"] == "python -m pipelines.targets.entry train shapes_smoke"
    assert asked["runtime_env"]["env_vars"] == {"AUNET_JOB": asked["submission_id"], "AUNET_STORE": "s3://bucket/store"}


def test_what_another_machine_would_not_find_is_refused(server: type[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUNET_STORE")
    with pytest.raises(InputError) as refused:
        request(override(presets.shapes_smoke(), {"data.shapes": None, "data.root": "data/coco"}))
    assert ["AUNET_STORE" in p or "data.root" in p for p in refused.value.problems] == [True, True]


@pytest.mark.parametrize("store", ["store", "./store", "../shared", "~/store"])
def test_a_store_of_the_working_directory_is_refused(
    server: type[Server], monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    """That of a job is deleted with what it holds."""
    monkeypatch.setenv("AUNET_STORE", store)
    with pytest.raises(InputError, match=f"AUNET_STORE = '{store}': jobs start elsewhere; use s3://"):
        request()


@pytest.mark.parametrize("store", ["s3://bucket/store", "/shared/store", "file:///shared/store"])
def test_a_store_that_nodes_may_share_travels(
    server: type[Server], monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    monkeypatch.setenv("AUNET_STORE", store)
    assert request()["runtime_env"]["env_vars"]["AUNET_STORE"] == store


@pytest.mark.parametrize(("status", "mode"), [(401, "disabled"), (403, "disabled")])
def test_a_missing_token_is_one_line(
    server: type[Server], monkeypatch: pytest.MonkeyPatch, status: int, mode: str
) -> None:
    server.status = status
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with pytest.raises(Unavailable, match="wants a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN") as refused:
        RayJobs().state("train-x-1")
    assert "\n" not in str(refused.value)


def test_a_server_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match=r"http://127.0.0.1:9: no job server answers"):
        RayJobs().state("train-x-1")


@pytest.mark.parametrize("given", ["", "auto", "10.0.0.1:6379", "ray://head:10001"])
def test_an_address_that_is_no_job_server_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", given)
    with pytest.raises(InputError, match="http://HEAD:8265"):
        RayJobs()


def test_the_code_travels_and_nothing_else(tmp_path: Path) -> None:
    create_package(str(ROOT), tmp_path / "code.zip", include_gitignore=True, excludes=EXCLUDES)
    packed = {name for name in zipfile.ZipFile(tmp_path / "code.zip").namelist() if not name.endswith("/")}
    sources = [path for room in ("aunet", "pipelines", "jobs") for path in (ROOT / room).rglob("*.py")]
    assert packed >= {path.relative_to(ROOT).as_posix() for path in sources}
    assert {name.split("/")[0] for name in packed} == {"aunet", "pipelines", "jobs"}
    assert not [name for name in packed if "__pycache__" in name]
    assert (tmp_path / "code.zip").stat().st_size < 5_000_000


class Flaky:
    """A client that loses its connection once in the log and once in the status."""

    def __init__(self) -> None:
        self.logs = iter([["a\n", "b\n", RuntimeError("closed")], ["a\nb\n", "c\n"], ["a\nb\nc\n"]])
        self.jobs = iter([ConnectionError("lost"), "RUNNING", "SUCCEEDED"])

    async def tail_job_logs(self, id: str) -> AsyncIterator[str]:
        for lines in next(self.logs):
            if isinstance(lines, Exception):
                raise lines
            yield lines

    def list_jobs(self) -> list[SimpleNamespace]:
        status = next(self.jobs)
        if isinstance(status, Exception):
            raise status
        kind = SimpleNamespace(value=status)
        return [SimpleNamespace(submission_id="x", status=kind, message="", driver_exit_code=0)]


def test_a_lost_connection_is_resumed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    client: Any = Flaky()
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    assert RayJobs(connect=lambda address: client, poll_seconds=0).follow("x").status == "SUCCEEDED"
    log = [line for line in capsys.readouterr().err.splitlines() if "trying again" not in line]
    assert log == ["a", "b", "c"]


def test_a_proxy_that_answers_for_the_server_is_borne(server: type[Server], capsys: pytest.CaptureFixture[str]) -> None:
    done = {"type": "SUBMISSION", "submission_id": "x", "entrypoint": "x", "status": "SUCCEEDED", "driver_exit_code": 0}
    server.jobs, server.proxied = [done], MAX_FAILED_POLLS - 1
    assert RayJobs(poll_seconds=0).follow("x").status == "SUCCEEDED"
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == MAX_FAILED_POLLS - 1
    assert all("Request failed with status code 502" in line and line.endswith("; trying again") for line in lines)
    server.proxied = MAX_FAILED_POLLS
    with pytest.raises(Unavailable, match="502") as refused:
        RayJobs(poll_seconds=0).follow("x")
    assert "\n" not in str(refused.value)
