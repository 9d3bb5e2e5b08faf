"""Servers that accept a connection and never answer: a wait ends, whatever it is for."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aunet.errors import Unavailable
from pipelines.targets import ray_jobs, timeouts
from pipelines.targets.kuberay import KubeRayJobs
from pipelines.targets.ray_jobs import RayJobs
from pipelines.targets.submission import SentJobs
from pipelines.targets.waiting import MAX_FAILED_POLLS
from tests.kubernetes_api import CONFIG


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of one; nobody waits long for it."""
    monkeypatch.setattr(timeouts, "READ_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def kubernetes(address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> SentJobs:
    clusters = [{"name": "test", "cluster": {"server": address}}]
    (folder / "kubeconfig").write_text(json.dumps({**CONFIG, "clusters": clusters}))
    monkeypatch.setenv("KUBECONFIG", str(folder / "kubeconfig"))
    return KubeRayJobs("default", poll_seconds=0)


def ray(address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> SentJobs:
    monkeypatch.setenv("RAY_ADDRESS", address)
    return RayJobs(poll_seconds=0)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("of", [kubernetes, ray])
def test_a_silent_server_ends_the_wait(
    of: Callable[..., SentJobs],
    silent: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    jobs = of(silent, tmp_path, monkeypatch)
    with pytest.raises(Unavailable, match="answer"):
        jobs.follow("train-x-1")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == MAX_FAILED_POLLS - 1 and all(line.endswith("; trying again") for line in lines)


@pytest.mark.timeout(20)
def test_a_silent_kubeflow_is_one_line(silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.targets.kubeflow import KubeflowJobs  # an optional extra

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", silent)
    with pytest.raises(Unavailable, match="Read timed out") as refused:
        KubeflowJobs("default")
    assert "\n" not in str(refused.value)


class Quiet:
    """A client whose connection to the log dies after a line, once."""

    def __init__(self) -> None:
        self.openings = 0

    async def tail_job_logs(self, id: str) -> AsyncIterator[str]:
        self.openings += 1
        yield "a\n"
        if self.openings == 1:
            await asyncio.Event().wait()
        yield "b\n"

    def list_jobs(self) -> list[SimpleNamespace]:
        kind = SimpleNamespace(value="RUNNING" if self.openings == 1 else "SUCCEEDED")
        return [SimpleNamespace(submission_id="x", status=kind, message="", driver_exit_code=0)]


@pytest.mark.timeout(20)
def test_a_log_that_is_silent_is_opened_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client: Any = Quiet()
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    monkeypatch.setattr(ray_jobs, "QUIET_SECONDS", 0.05)
    assert RayJobs(connect=lambda address: client, poll_seconds=0).follow("x").status == "SUCCEEDED"
    assert capsys.readouterr().err.splitlines() == ["a", "b"]
