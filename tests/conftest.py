"""What every test shares: its own store, fixed seeds, real sample data where there is some, one quiet Ray cluster."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import random
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.clusters import job_server
from tests.commands import TINY_RUN, MainJob, jobs, jobs_here

if TYPE_CHECKING:
    from tests.swift import Swift

SAMPLE_DATA = "AUNET_SAMPLE_DATA"
NEEDS_SAMPLE_DATA = f"needs the sample data: set {SAMPLE_DATA} to its folder"
NEEDS_GPU = "needs a CUDA device"
NEEDS_BROWSER = "needs Chromium and playwright: see `make test-browser`"
FIRST = (
    "end_to_end/test_run.py",
    "end_to_end/test_object_storage.py",
    "faults/test_resume.py",
    "end_to_end/test_ray_job.py",
    "pipelines/test_train.py",
    "end_to_end/",
    "faults/",
    "aunet/model/test_compile.py",
    "pipelines/test_export.py",
    "aunet/test_export.py",
)
"""Beginnings of the order of tests."""

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def pytest_configure() -> None:
    """Every training of the suite has one process less: none of its nodes is taken away."""
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `gpu` skip themselves where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip(NEEDS_GPU)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole flows first: where two processes share the files, what takes minutes must not be left for the end."""
    items.sort(key=lambda item: next((n for n, name in enumerate(FIRST) if name in item.nodeid), len(FIRST)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """End with one line of counts, which continuous integration reads."""
    stats = terminalreporter.stats
    skipped = [str(report.longrepr) for report in stats.get("skipped", [])]
    num_run = sum(len(stats.get(outcome, [])) for outcome in ("passed", "failed", "error", "xfailed", "xpassed"))
    without_data = sum(NEEDS_SAMPLE_DATA in reason for reason in skipped)
    without_gpu = sum(NEEDS_GPU in reason for reason in skipped)
    without_browser = sum(NEEDS_BROWSER in reason for reason in skipped)
    terminalreporter.write_line(
        f"tests: {num_run} run, {len(skipped)} skipped "
        f"({without_data} for want of sample data, {without_gpu} for want of a GPU, {without_browser} of a browser)"
    )


@pytest.fixture(autouse=True)
def isolation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of its own for every test, and nothing inherited that would reach a real service.

    Workers of `ray_cluster` started earlier and do not see this environment: hand them URIs.
    """
    monkeypatch.setenv("AUNET_STORE", str(tmp_path / "store"))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "RAY_ADDRESS", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def seeds() -> None:
    """The same random numbers in every run, in whatever order the tests come."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture
def plain_fp16(request: pytest.FixtureRequest) -> Iterator[None]:
    """Convolutions in fp16 not by oneDNN, whose gradients take five times as long on processors with that format.

    Cases of a parameter `precision` that are in other formats stay as they are.
    """
    import torch

    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    is_fp16 = parameters.get("precision", "fp16") in ("fp16", torch.float16)
    with torch.backends.mkldnn.flags(enabled=False) if is_fp16 else contextlib.nullcontext():
        yield


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder of the real sample data; the test skips where none is named."""
    named = os.environ.get(SAMPLE_DATA)
    if not named:
        pytest.skip(NEEDS_SAMPLE_DATA)
    folder = Path(named).resolve()
    assert folder.is_dir(), f"{SAMPLE_DATA} = {named}: no such folder; name the sample data's folder or unset it"
    return folder


@pytest.fixture(scope="session")
def mlflow_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh MLflow database, made once: copying it takes less than making another."""
    from pipelines.tracking.database import client

    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUNET_STORE", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        client()
    return folder / "mlflow.db"


@pytest.fixture
def mlflow_store(mlflow_file: Path, isolation: None) -> Path:
    """The test's store, with an MLflow database in it."""
    store = Path(os.environ["AUNET_STORE"])
    store.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(mlflow_file, store)).parent


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A local Ray with two CPUs, started once."""
    import ray

    from pipelines.runtime.cluster import connect

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUNET_STORE", str(tmp_path_factory.mktemp("ray") / "store"))
        patch.delenv("RAY_ADDRESS", raising=False)
        connect(num_cpus=2)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of an S3 API server in this process, which answers without any network."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """`s3://…` of an empty bucket of moto's, with an environment in which it can be reached."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"bucket-{uuid.uuid4().hex[:8]}"
    boto3.Session().client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/store"


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """OpenStack Swift with its S3 API: keeps objects in files and checks signatures."""
    from tests.swift import serving

    with serving(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture
def swift_bucket(swift: Swift, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """`s3://…` of an empty bucket of Swift's, with an environment in which it can be reached; a test's is always the
    same, so that `fault_proxy` fails the same requests."""
    import boto3

    for name, value in swift.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:8]}"
    boto3.Session().client("s3").create_bucket(Bucket=bucket)  # boto3's own session keeps the first keys it sees
    return f"s3://{bucket}/store"


@pytest.fixture(scope="session")
def main_job(tmp_path_factory: pytest.TempPathFactory) -> MainJob:
    """The whole main job, run once, as a job of a Ray cluster with token authentication.

    Once for all processes of the suite: the first that comes runs it, and the others wait.
    """
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "main_job"
    folder.mkdir(exist_ok=True)
    store, outcome = folder / "store", folder / "outcome.json"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not outcome.exists():
            words = ["run", "shapes_smoke", *TINY_RUN]
            with job_server() as reach:
                submitted, log = jobs(store, "submit", *words, "--target", "ray", "--wait", more=reach)
            result, _ = jobs_here(store, *words)
            outcome.write_text(json.dumps([result, log, submitted, reach["RAY_AUTH_TOKEN"]]))
    return MainJob(store, *json.loads(outcome.read_text()))
