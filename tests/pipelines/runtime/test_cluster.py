"""How a local Ray is started, how a cluster is reached, what a run holds of it, and when it would wait for ever."""

from __future__ import annotations

import socket
import subprocess
from typing import NoReturn

import pytest

from aunet.errors import InputError, Unavailable
from pipelines.runtime import cluster
from pipelines.runtime.cluster import (
    check_address,
    connect,
    is_job_server,
    join,
    missing_workers,
    needs,
    ray_address,
    resources,
)
from pipelines.settings.run_config import FeedConfig, TrainConfig
from tests.canaries import URIS, leaks

TORCH, RAY = FeedConfig(workers=4), FeedConfig(kind="ray", workers=2)


def hanging(command: list[str], **options: float) -> NoReturn:
    raise subprocess.TimeoutExpired(command, options["timeout"])


def test_a_driver_that_hangs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # another test may have connected this process
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr("subprocess.run", hanging)
    with pytest.raises(Unavailable, match=r"`nvidia-smi -L` has not answered for 20 s.*CUDA_VISIBLE_DEVICES"):
        resources()


def test_a_gpu_counts_once_whatever_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = "GPU 0: NVIDIA GeForce RTX 3070 Laptop GPU (UUID: GPU-1)\nGPU 1: NVIDIA A100 (UUID: GPU-2)\n  MIG 1g.5gb\n"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(cluster, "nvidia_smi", lambda *_: subprocess.CompletedProcess([], 0, listed, ""))
    assert cluster._num_gpus() == 2


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
