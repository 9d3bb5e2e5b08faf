"""Jobs of a real Ray cluster with token authentication, through its Jobs API."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import job_server
from tests.commands import TINY_RUN, MainJob, jobs

PREPROCESS = ["submit", "preprocess", "shapes_smoke", *TINY_RUN, "--target", "ray"]


@pytest.fixture(scope="module")
def reach() -> Iterator[dict[str, str]]:
    """The environment in which a job server on this machine can be reached."""
    with job_server() as environment:
        yield environment


@pytest.fixture(scope="module")
def store(main_job: MainJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the main job's data and no run."""
    copy = tmp_path_factory.mktemp("ray_job") / "store"
    for folder in ("raw", "prepared"):
        shutil.copytree(main_job.store / folder, copy / folder)
    return copy


def test_the_main_job_was_a_job_and_left_no_token(main_job: MainJob) -> None:
    submitted = main_job.submitted
    assert (submitted["status"], submitted["exit_code"], submitted["sent"]) == ("SUCCEEDED", 0, True)
    everything = b"".join(path.read_bytes() for path in main_job.store.rglob("*") if path.is_file())
    assert main_job.token.encode() not in everything


def test_a_job_looks_at_the_data_anew(store: Path, reach: dict[str, str]) -> None:
    result, _ = jobs(store, *PREPROCESS, "--wait", more=reach)
    assert (result["status"], result["exit_code"], result["sent"]) == ("SUCCEEDED", 0, True)
    again, printed = jobs(store, *PREPROCESS, "--wait", more=reach)
    assert again == result
    assert "was SUCCEEDED, sent again" in printed

    state, printed = jobs(store, "job", "--id", result["submission_id"], "--target", "ray", "--logs", more=reach)
    assert (state["status"], state["job_exit_code"]) == ("SUCCEEDED", 0)


def test_a_failed_job_keeps_its_exit_code_and_can_be_sent_again(store: Path, reach: dict[str, str]) -> None:
    evaluate = ["submit", "evaluate", "shapes_smoke", *TINY_RUN, "--run", str(store / "runs/none"), "--target", "ray"]
    first, printed = jobs(store, *evaluate, "--wait", rc=2, more=reach)
    assert first["status"] == "FAILED" and "no finished run there" in printed
    again, printed = jobs(store, *evaluate, "--wait", rc=2, more=reach)
    assert again["sent"] and "was FAILED, sent again" in printed
    assert again["submission_id"] == first["submission_id"]


def test_a_job_is_sent_once_and_can_be_stopped(store: Path, reach: dict[str, str]) -> None:
    words = ["submit", "train", "shapes_smoke", *TINY_RUN, "--train.epochs", "400", "--target", "ray"]
    sent, _ = jobs(store, *words, more=reach)
    asked = ["job", "--id", sent["submission_id"], "--target", "ray"]

    def wait_for(*statuses: str) -> str:
        end = time.monotonic() + 300
        while (status := jobs(store, *asked, more=reach)[0]["status"]) not in statuses:
            assert time.monotonic() < end, status
        return status

    assert wait_for("RUNNING", "FAILED") == "RUNNING"
    again, printed = jobs(store, *words, more=reach)
    assert (again["submission_id"], again["status"], again["sent"]) == (sent["submission_id"], "RUNNING", False)
    assert "is RUNNING already, nothing sent" in printed
    jobs(store, *asked, "--stop", more=reach)
    assert wait_for("STOPPED", "FAILED", "SUCCEEDED") == "STOPPED"


def test_a_wrong_token_is_one_line(store: Path, reach: dict[str, str]) -> None:
    _, printed = jobs(store, *PREPROCESS, rc=1, more={**reach, "RAY_AUTH_TOKEN": secrets.token_hex(32)})
    (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert "the job server wants another token" in line and "Traceback" not in printed
