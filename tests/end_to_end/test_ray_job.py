"""The same training through Ray's Jobs API on a real cluster with token authentication: the same weights, once."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import free_port, nodes
from tests.commands import TINY_RUN, jobs, weights_hash

TRAIN = ["submit", "train", "shapes_smoke", *TINY_RUN, "--target", "ray"]


@pytest.fixture(scope="module")
def reach() -> Iterator[dict[str, str]]:
    """The environment in which a job server on this machine can be reached."""
    port, agent = free_port(), free_port()
    options = ["--include-dashboard=true", f"--dashboard-port={port}", f"--dashboard-agent-listen-port={agent}"]
    folder = Path(tempfile.mkdtemp(prefix="rayjob"))  # sockets want a short path
    with nodes(folder) as cluster:
        try:
            cluster.start_head("--num-cpus=3", *options)
        except AssertionError:  # Ray gives a node 30 s; on a busy machine the second attempt finds everything in memory
            cluster.stop()
            cluster.start_head("--num-cpus=3", *options)
        yield {**cluster.reach, "RAY_ADDRESS": f"http://127.0.0.1:{port}"}
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def store(main_job: tuple[Path, dict[str, Any], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the main job's data and no run."""
    place = tmp_path_factory.mktemp("ray_job") / "store"
    for folder in ("raw", "prepared"):
        shutil.copytree(main_job[0] / folder, place / folder)
    return place


def test_the_job_trains_the_same_model(
    main_job: tuple[Path, dict[str, Any], str], store: Path, reach: dict[str, str]
) -> None:
    result, said = jobs(store, *TRAIN, "--wait", **reach)
    assert (result["status"], result["exit_code"], result["sent"]) == ("SUCCEEDED", 0, True)
    assert "step 24/24" in said
    assert weights_hash(store) == weights_hash(main_job[0])

    again, said = jobs(store, *TRAIN, "--wait", **reach)
    assert again == {**result, "sent": False}
    assert "is SUCCEEDED already, nothing sent" in said

    told, _ = jobs(store, "job", "--id", result["submission_id"], "--target", "ray", "--logs", **reach)
    assert (told["status"], told["job_exit_code"]) == ("SUCCEEDED", 0)
    everything = b"".join(path.read_bytes() for path in store.rglob("*") if path.is_file())
    assert reach["RAY_AUTH_TOKEN"].encode() not in everything


def test_a_failed_job_keeps_its_exit_code_and_can_be_sent_again(store: Path, reach: dict[str, str]) -> None:
    evaluate = ["submit", "evaluate", "shapes_smoke", *TINY_RUN, "--run", str(store / "runs/none"), "--target", "ray"]
    first, said = jobs(store, *evaluate, "--wait", rc=2, **reach)
    assert first["status"] == "FAILED" and "no finished run there" in said
    again, said = jobs(store, *evaluate, "--wait", rc=2, **reach)
    assert again["sent"] and "was FAILED, sent again" in said
    assert again["submission_id"] == first["submission_id"]


def test_a_wrong_token_is_one_line(store: Path, reach: dict[str, str]) -> None:
    _, said = jobs(store, *TRAIN, rc=2, **{**reach, "RAY_AUTH_TOKEN": secrets.token_hex(32)})
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert "the job server wants another token" in line and "Traceback" not in said
