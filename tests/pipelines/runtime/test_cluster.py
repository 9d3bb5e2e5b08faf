"""How a local Ray is started, how a cluster is reached, what a run holds of it, and when it would wait for ever."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from aunet.errors import InputError, Unavailable
from pipelines.runtime.cluster import (
    MAX_SOCKET_PATH,
    SOCKET,
    START_ATTEMPTS,
    check_address,
    check_temporary_folder,
    connect,
    is_job_server,
    join,
    missing_workers,
    needs,
    ray_address,
    resources,
    start_patiently,
)
from pipelines.settings.run_config import FeedConfig, TrainConfig
from tests.canaries import URIS, leaks

TORCH, RAY = FeedConfig(workers=4), FeedConfig(kind="ray", workers=2)
NODE_TIMED_OUT = "The current node timed out during startup. This could happen because …"


def starter(*failures: Exception) -> Callable[[], int]:
    """A start that fails in these ways, one call after the other, then succeeds."""
    calls = iter([*failures, None])

    def start() -> int:
        if failure := next(calls):
            raise failure
        return 1

    return start


def test_a_ray_that_starts_at_once_needs_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    start_patiently(starter())
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", [NODE_TIMED_OUT, "Timed out waiting for file /tmp/ray/gcs_server_port"])
def test_a_ray_that_is_too_slow_is_started_again_with_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    start_patiently(starter(RuntimeError(text)))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Ray did not start within 60 s on this machine (load ") and line.endswith("; trying again")


def test_a_ray_that_does_not_start_is_unavailable_in_one_line() -> None:
    with pytest.raises(Unavailable, match=rf"\(load \d+ on \d+ CPUs\), tried {START_ATTEMPTS} times; ") as caught:
        start_patiently(starter(*[Exception(NODE_TIMED_OUT)] * START_ATTEMPTS))
    assert "\n" not in str(caught.value)


def test_another_failure_is_raised_at_once() -> None:
    calls = starter(ValueError("num_cpus must be positive"))
    with pytest.raises(ValueError, match="num_cpus"):
        start_patiently(calls)
    assert calls() == 1, "it was called a second time"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_what_a_failed_start_leaves_behind_is_ended() -> None:
    before = subprocess.Popen(["sleep", "60"])
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        if not started:
            code = "import time; time.sleep(60)"
            started.append(subprocess.Popen([sys.executable, "-c", code, "--session-dir=/tmp/ray/session_1"]))
            started.append(subprocess.Popen(["sleep", "60"]))
            end = time.monotonic() + 10
            while b"session_" not in open(f"/proc/{started[0].pid}/cmdline", "rb").read():  # noqa: SIM115
                assert time.monotonic() < end
            raise RuntimeError(NODE_TIMED_OUT)

    try:
        start_patiently(start)
        assert started[0].wait(timeout=10) < 0
        assert started[1].poll() is before.poll() is None, "only Ray's own are"
    finally:
        for process in (before, *started):
            process.kill()
            process.wait()


def never(**options: object) -> None:
    pytest.fail("no cluster to join")


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "http://127.0.0.1:{}/"])
def test_a_cluster_that_does_not_answer_is_unavailable(form: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = form.format(server.getsockname()[1])
        check_address(address)
    with pytest.raises(Unavailable, match=r"RAY_ADDRESS = .*refused; start the cluster"):
        check_address(address)
    with pytest.raises(Unavailable, match="RAY_ADDRESS"):
        join(address, {}, never)


@pytest.mark.parametrize("address", ["auto", "local", "http://head", ""])
def test_an_address_without_a_port_is_left_to_ray(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize("address", ["auto", "local", "head:6379", "[::1]:6379", "ray://head:10001", "http://head/ray"])
def test_ray_knows_these_addresses(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert ray_address() == address


@pytest.mark.parametrize(
    "address",
    [
        "head",
        "head:x",
        "head:99999",
        "ray://head",
        "http://",
        "ftp://head:1",
        "head:1/x",
        "a b:1",
        "http://h?x=1",
        "[::1",
    ],
)
def test_an_address_that_ray_does_not_know_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=r"RAY_ADDRESS: .*use HOST:6379"):
        ray_address()


@pytest.mark.parametrize("shape", URIS)
def test_credentials_in_an_address_are_refused_and_not_repeated(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", URIS[shape])
    for use in (ray_address, connect, resources):
        monkeypatch.setattr("ray.is_initialized", lambda: False)
        with pytest.raises(InputError) as refused:
            use()
        assert leaks(str(refused.value)) == []


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_temporary_folder_too_long_for_sockets_is_refused(name: str) -> None:
    longest = MAX_SOCKET_PATH - len(f"/{SOCKET.format(pid=os.getpid())}")
    check_temporary_folder({name: "/" + "a" * (longest - 1)})
    with pytest.raises(InputError, match=rf"{name} = .*: {longest + 1} bytes, .*set RAY_TMPDIR to a shorter folder"):
        check_temporary_folder({name: "/" + "a" * longest})
    check_temporary_folder({"TMPDIR": "/" + "a" * 200, "RAY_TMPDIR": "/tmp"})
    check_temporary_folder({})


def test_ray_is_not_started_in_a_temporary_folder_too_long_for_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", never)
    monkeypatch.setenv("RAY_TMPDIR", "/" + "a" * 120)
    with pytest.raises(InputError, match=r"RAY_TMPDIR = .*set RAY_TMPDIR to a shorter folder"):
        connect()


def test_a_port_where_ray_does_not_answer_is_unavailable() -> None:
    def init(**options: object) -> None:
        raise ConnectionError("Ray is trying to start, but no cluster answers")

    with pytest.raises(Unavailable, match=r"RAY_ADDRESS = auto: .*no cluster answers; start the cluster"):
        join("auto", {}, init)


def test_a_job_server_is_no_cluster_to_join() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InputError, match="is a job server: send it a job"):
            join(address, {}, never)
    assert is_job_server(address)
    assert not any(map(is_job_server, ["auto", "10.0.0.1:6379", "ray://head:10001", "this machine"]))


@pytest.mark.parametrize(
    ("use_gpu", "feed", "expected"),
    [
        (False, TORCH, {"GPU": 0, "CPU": 3}),
        (True, TORCH, {"GPU": 3, "CPU": 0}),
        (False, RAY, {"GPU": 0, "CPU": 9}),
        (True, RAY, {"GPU": 3, "CPU": 6}),
    ],
)
def test_workers_and_the_tasks_that_decode_for_them(use_gpu: bool, feed: FeedConfig, expected: dict) -> None:
    assert needs(3, use_gpu, feed) == expected


@pytest.mark.parametrize(
    ("use_gpu", "feed", "available", "reason"),
    [
        (False, TORCH, {"CPU": 2, "GPU": 0}, None),
        (False, TORCH, {"CPU": 1, "GPU": 0}, "train.num_workers = 2 with one CPU each, but the cluster has 1"),
        (True, RAY, {"CPU": 64, "GPU": 1}, "--train.num_workers 1 or --train.use_gpu False"),
        (False, RAY, {"CPU": 6, "GPU": 0}, None),
        (False, RAY, {"CPU": 5, "GPU": 0}, "2 workers with one CPU each + 2 × 2 decoding tasks with one CPU each = 6"),
        (True, RAY, {"CPU": 3, "GPU": 2}, "feed.workers = 2: 2 × 2 decoding tasks with one CPU each = 4 CPUs"),
        (True, RAY, {"CPU": 4, "GPU": 2}, None),
    ],
)
def test_a_run_that_would_wait_for_ever_is_named(
    use_gpu: bool, feed: FeedConfig, available: dict, reason: str | None
) -> None:
    missing = missing_workers(TrainConfig(num_workers=2, use_gpu=use_gpu), feed, available)
    assert (missing is None) if reason is None else (missing is not None and reason in missing)
