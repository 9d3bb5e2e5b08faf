"""What `doctor` reports of a machine in order, and of each thing that is not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import ray
import torch
import torchvision

import aunet_ops
from aunet_ops import segment_maps
from pipelines import doctor
from pipelines.checks import machine, services
from pipelines.checks.machine import Finding
from pipelines.doctor import Check
from pipelines.store import storage
from tests.canaries import URIS, leaks


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


def look(name: str, find: Callable[[], Finding] | None = None) -> Finding:
    """What `doctor` makes of one check, or of `find` in its place."""
    check = doctor.ALL[name]
    return doctor.examine(check._replace(find=find) if find else check)


def test_a_machine_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    result = doctor.doctor()
    assert (result.problems, result.exit_code) == ([], 0)
    assert [check["name"] for check in result.to_json()["checks"]] == list(doctor.ALL)
    lines = capsys.readouterr().err
    assert all(f"{mark} {name}" in lines for mark, name in [("✓", "store"), ("✓", "MLflow"), ("✓", "operator")])
    assert not Path(os.environ["AUNET_STORE"]).exists(), "what a check created is gone"


@pytest.mark.parametrize(("counted", "visible", "ok"), [(8, 0, False), (8, 8, True), (0, 0, True), (0, 1, True)])
def test_gpus_that_only_ray_counts_are_one_line(counted: int, visible: int, ok: bool) -> None:
    trouble = services.hidden_gpus(lambda: counted, lambda: visible)
    assert (trouble is None) == ok
    if trouble is not None:
        assert not trouble.ok and trouble.detail == "Ray counts 8 GPUs on this machine, but torch sees 0"
        assert "docker run --gpus all" in trouble.cure and "nvidia.com/gpu" in trouble.cure


def test_one_failure_hides_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> Finding:
        raise RuntimeError("driver://me:secret@host\nis gone")

    def slow() -> Finding:
        time.sleep(30)
        raise AssertionError

    def fine() -> Finding:
        return Finding(True, "as it should be", "could be better")

    checks = {"broken": Check(broken, 5.0, "fix it"), "slow": Check(slow, 0.1, "wait"), "fine": Check(fine, 5.0, "")}
    result = doctor.doctor(checks)
    assert (result.problems, result.exit_code) == (["broken", "slow"], 2)
    assert list(result.to_json()) == ["checks", "problems"]
    assert result.to_json()["checks"] == [
        {"name": "broken", "ok": False, "detail": "RuntimeError: driver://*** is gone", "cure": "fix it"},
        {"name": "slow", "ok": False, "detail": "no answer within 0 s", "cure": "wait"},
        {"name": "fine", "ok": True, "detail": "as it should be", "cure": "could be better"},
    ]
    lines = [line.rstrip() for line in capsys.readouterr().err.splitlines()]
    assert lines[1] == "  → fix it" and lines[4].startswith("! fine") and "Traceback" not in "".join(lines)


def test_another_version_is_named(tmp_path: Path) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(
        "# pins\nray==1.0.0 \\\n    --hash=sha256:00\nnumpy==1.0 ; python_version < '3'\nnot-installed==1\n"
    )
    finding = look("versions", partial(machine.versions, constraints))
    assert finding == (False, f"ray {ray.__version__} instead of 1.0.0", machine.REPAIR)


def test_a_version_that_another_shadows_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the packages of Debian's Python are shadowed by those that were installed beside them."""
    about = tmp_path / "later" / "ray-1.0.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ray\nVersion: 1.0.0\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(about.parent)])
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(f"ray=={ray.__version__}\n")
    assert look("versions", partial(machine.versions, constraints)).ok


def test_a_torch_without_torchvisions_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", missing)
    finding = look("torch")
    assert not finding.ok and "torchvision::nms" in finding.detail and "--reinstall" in finding.cure


def test_an_operator_that_is_not_compiled_or_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    right = aunet_ops.roi_upsample
    monkeypatch.setattr(aunet_ops, "roi_upsample", lambda *inputs: right(*inputs) + 1)
    finding = look("operator")
    assert not finding.ok and "differs from its readable twin by 1" in finding.detail and "--force" in finding.cure
    status = aunet_ops.KernelStatus(device="cpu", compiled=False, detail="not built", cure="build it")
    monkeypatch.setattr(aunet_ops, "kernel_status", lambda: [status])
    assert look("operator") == (False, "cpu: not compiled (not built)", "build it")


def test_a_map_reader_that_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = look("map reader")
    assert finding.ok and finding.detail == str(segment_maps.reader_status())
    monkeypatch.setattr(segment_maps, "find_library", lambda kind: (None, {}))
    segment_maps._library.cache_clear()
    try:
        finding = look("map reader")
    finally:
        segment_maps._library.cache_clear()
    assert not finding.ok and "Pillow and numpy (not built)" in finding.detail
    assert finding.cure == "python -m aunet_ops.build"


def hanging(command: list[str], **options: float) -> NoReturn:
    raise subprocess.TimeoutExpired(command, options["timeout"])


def test_a_gpu_that_torch_cannot_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = look("GPU")
    assert finding.ok and finding.detail.startswith("no GPU")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 450.12\n")
    program.chmod(0o755)
    finding = look("GPU")
    assert not finding.ok and "driver 450.12" in finding.detail and "update the driver" in finding.cure
    monkeypatch.setattr("subprocess.run", hanging)
    assert "whose driver does not answer" in look("GPU").detail


def test_a_store_below_a_file_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUNET_STORE", str(tmp_path / "file/store"))
    finding = look("store")
    assert not finding.ok and "file" in finding.detail and "AUNET_STORE=" in finding.cure


def test_a_bucket_in_order(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_STORE", s3)
    assert look("store").ok and look("S3").ok
    assert "credentials from env" in look("S3").detail and "test-secret" not in look("S3").detail
    assert storage.list_files(s3) == [], "what the check wrote is gone"
    monkeypatch.setenv("AUNET_STORE", "s3://no-such-bucket/store")
    assert not look("store").ok
    finding = look("S3", partial(services.s3, now=lambda: time.time() + 1000))
    assert not finding.ok and "clock" in finding.detail and "set the clock" in finding.cure


def test_a_bucket_that_can_be_created_twice(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(uri: str, data: bytes) -> bool:
        storage.write_bytes(uri, data)
        return True

    monkeypatch.setenv("AUNET_STORE", s3)
    finding = look("store", partial(services.store, create))
    assert not finding.ok and "created twice" in finding.detail and "If-None-Match" in finding.cure


def test_s3_without_keys(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    finding = look("S3")
    assert not finding.ok and "no credentials" in finding.detail and "AWS_PROFILE" in finding.cure


@pytest.mark.faults
@pytest.mark.parametrize(
    ("name", "variable", "form"),
    [
        ("S3", "AWS_ENDPOINT_URL", "http://127.0.0.1:{}"),
        ("store", "AWS_ENDPOINT_URL", "http://127.0.0.1:{}"),
        ("MLflow", "MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:{}"),
        ("MLflow", "MLFLOW_TRACKING_URI", "postgresql://me:secret@127.0.0.1:{}/db"),
        ("Ray", "RAY_ADDRESS", "127.0.0.1:{}"),
    ],
)
def test_a_server_that_is_down_is_named(
    name: str, variable: str, form: str, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    monkeypatch.setenv(variable, form.format(closed_port))
    finding = look(name)
    assert not finding.ok and str(closed_port) in finding.detail and "refused" in finding.detail.lower()
    assert variable in finding.cure or name == "store"
    assert "secret" not in "".join(map(str, finding))


@pytest.mark.faults
def test_a_tracking_server_that_says_nothing(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MAX_RETRIES": "0", "TIMEOUT": "2"}.items():
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent_port}")
    finding = look("MLflow")
    assert not finding.ok and "ReadTimeoutError" in finding.detail


def test_mlflow_in_order(mlflow_store: Path) -> None:
    finding = look("MLflow")
    assert finding.ok and "experiment aunet will be created" in finding.detail


def test_little_space_is_reported() -> None:
    def look_with(name: str, check: Callable[..., Finding], free: float) -> Finding:
        return look(name, partial(check, lambda folder: SimpleNamespace(free=free, total=1e9)))

    low = look_with("disk", machine.disk, 10e9)
    assert low.ok and low.cure
    assert not look_with("disk", machine.disk, 1e9).ok
    memory = look_with("shared memory", machine.shared_memory, 10e9)
    assert memory.ok and "--shm-size" in memory.cure
    files = look("open files", partial(machine.open_files, lambda resource: (1024, 4096)))
    assert files == (True, "1024 open files allowed", "ulimit -n 4096")


@pytest.mark.parametrize("shape", URIS)
@pytest.mark.parametrize("name", ["RAY_ADDRESS", "MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL", "AUNET_STORE"])
def test_doctor_repeats_no_credentials(
    name: str, shape: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr(services, "SECONDS", 0.5)
    monkeypatch.setattr(services.socket, "create_connection", refuse)
    monkeypatch.setenv(name, URIS[shape])
    checks = {name: doctor.ALL[name] for name in ("Ray", "S3", "store", "MLflow")}
    checks = {name: check for name, check in checks.items() if name != "Ray" or "RAY_ADDRESS" in os.environ}
    result = doctor.doctor(checks)
    assert leaks(str(result.to_json()) + capsys.readouterr().err) == []


def refuse(address: tuple[str, int], *_: Any) -> None:
    raise ConnectionRefusedError(f"{address} refuses")


@pytest.mark.parametrize("uri", ["mysql://host/db", "s3://", "http://", "ftp://x"])
def test_an_address_of_mlflow_that_cannot_be_one_is_reported_at_once(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    finding = look("MLflow")
    assert not finding.ok and finding.detail.startswith("MLFLOW_TRACKING_URI = ")
