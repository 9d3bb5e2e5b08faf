"""Jobs as detached processes of this machine, with a stand-in for the command line that does as it is told."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines import presets
from pipelines.targets import local_jobs
from pipelines.targets.local_jobs import LocalJobs
from pipelines.targets.submission import State, Submission

PROGRAM = """
import os, pathlib, sys, time
said, seconds, code = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
print(said, os.environ["AUNET_STORE"], os.getpid(), flush=True)
end = time.monotonic() + seconds
while time.monotonic() < end:
    time.sleep(0.02)
sys.exit(code)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalJobs:
    package = tmp_path / "code" / "jobs"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    monkeypatch.setattr(local_jobs, "ROOT", package.parent)
    monkeypatch.chdir(tmp_path)
    return LocalJobs()


def job(said: str = "hello", seconds: float = 0, code: int = 0) -> Submission:
    return Submission("train-x-0", presets.shapes_smoke(), "train", "x", (said, str(seconds), str(code)), {})


def ended(place: LocalJobs, id: str = "train-x-0") -> State:
    end = time.monotonic() + 60
    while not (state := place.state(id) or State("")).ended:
        assert time.monotonic() < end, "the job does not end"
        time.sleep(0.02)
    return state


def child(place: LocalJobs) -> int:
    """Pid of the job's own process, once it has said something."""
    end = time.monotonic() + 60
    while len(words := place.logs("train-x-0").split()) < 3:
        assert time.monotonic() < end
        time.sleep(0.02)
    return int(words[-1])


def test_a_job_leaves_its_log_and_its_exit_code(place: LocalJobs) -> None:
    assert place.state("train-x-0") is None
    place.send(job("hello"))
    assert ended(place) == State("SUCCEEDED", exit_code=0)
    assert place.logs("train-x-0").startswith(f"hello {os.environ['AUNET_STORE']}")


def test_a_failed_job_can_be_sent_again_under_its_id(place: LocalJobs) -> None:
    place.send(job("first", code=3))
    state = ended(place)
    assert (state.status, state.exit_code) == ("FAILED", 3)
    place.send(job("second"))
    assert ended(place).status == "SUCCEEDED"
    assert [line.split()[0] for line in place.logs("train-x-0").splitlines()] == ["first", "second"]


def test_following_shows_this_attempt_and_waits(place: LocalJobs, capsys: pytest.CaptureFixture[str]) -> None:
    place.send(job("first", code=1))
    ended(place)
    place.send(job("second", seconds=0.3, code=2))
    assert place.follow("train-x-0").exit_code == 2
    said = capsys.readouterr().err
    assert "second" in said and "first" not in said


def test_a_running_job_is_not_started_twice(place: LocalJobs) -> None:
    threads = [threading.Thread(target=place.send, args=[job(seconds=4)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = place.state("train-x-0")
    assert state is not None and state.status == "RUNNING"
    os.kill(child(place), signal.SIGKILL)
    assert ended(place).exit_code == 128 + signal.SIGKILL
    assert place.logs("train-x-0").count("hello") == 1


def test_a_killed_job_is_told_from_a_running_one(place: LocalJobs) -> None:
    place.send(job(seconds=60))
    child(place)
    wrapper = json.loads((place.root / "train-x-0" / "process.json").read_text())["pid"]
    os.kill(wrapper, signal.SIGKILL)  # the job itself goes on
    state = place.state("train-x-0")
    assert state is not None and state.status == "RUNNING"
    os.killpg(wrapper, signal.SIGKILL)
    state = ended(place)
    assert (state.status, state.exit_code) == ("FAILED", None) and "killed" in state.message


def test_a_job_can_be_stopped(place: LocalJobs) -> None:
    place.send(job(seconds=60))
    child(place)
    place.stop("train-x-0")
    assert ended(place).status == "STOPPED"


def test_nothing_secret_is_stored(place: LocalJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-91")
    place.send(job())
    ended(place)
    files = [path for path in place.root.rglob("*") if path.is_file()]
    assert len(files) >= 4 and not [path for path in files if b"canary-91" in path.read_bytes()]
    assert "canary-91" not in place.render(job()) and sys.executable in place.render(job())


def test_a_store_in_a_bucket_leaves_logs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    assert LocalJobs().root == tmp_path / "store" / "jobs"
