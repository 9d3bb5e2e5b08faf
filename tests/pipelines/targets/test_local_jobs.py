"""Jobs as detached processes of this machine, with a stand-in for the command line that does what its words say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines import presets
from pipelines.job import job as ask
from pipelines.targets.local_jobs import LocalJobs
from pipelines.targets.submission import State, Submission

PROGRAM = """
import os, pathlib, sys, time
word, seconds, code = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
print(word, os.environ["AUNET_STORE"], os.getpid(), flush=True)
end = time.monotonic() + seconds
while time.monotonic() < end:
    time.sleep(0.02)
sys.exit(code)
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalJobs:
    package = tmp_path / "code" / "jobs"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return LocalJobs(code=package.parent)


def job(word: str = "hello", seconds: float = 0, code: int = 0) -> Submission:
    return Submission("train-x-0", presets.shapes_smoke(), "train", "x", (word, str(seconds), str(code)), {})


def ended(jobs: LocalJobs, id: str = "train-x-0") -> State:
    end = time.monotonic() + 300
    while not (state := jobs.state(id) or State("")).ended:
        assert time.monotonic() < end, "the job does not end"
        time.sleep(0.02)
    return state


def child(jobs: LocalJobs) -> int:
    """Pid of the job's own process, once it has printed something."""
    end = time.monotonic() + 300
    while len(words := jobs.logs("train-x-0").split()) < 3:
        assert time.monotonic() < end
        time.sleep(0.02)
    return int(words[-1])


def test_a_job_leaves_its_log_and_its_exit_code(jobs: LocalJobs) -> None:
    assert jobs.state("train-x-0") is None
    jobs.send(job("hello"))
    assert ended(jobs) == State("SUCCEEDED", exit_code=0)
    assert jobs.logs("train-x-0").startswith(f"hello {os.environ['AUNET_STORE']}")


def test_a_failed_job_can_be_sent_again_under_its_id(jobs: LocalJobs) -> None:
    jobs.send(job("first", code=3))
    state = ended(jobs)
    assert (state.status, state.exit_code) == ("FAILED", 3)
    jobs.send(job("second"))
    assert ended(jobs).status == "SUCCEEDED"
    assert [line.split()[0] for line in jobs.logs("train-x-0").splitlines()] == ["first", "second"]


def test_following_shows_this_attempt_and_waits(jobs: LocalJobs, capsys: pytest.CaptureFixture[str]) -> None:
    jobs.send(job("first", code=1))
    ended(jobs)
    jobs.send(job("second", seconds=0.3, code=2))
    assert jobs.follow("train-x-0").exit_code == 2
    log = capsys.readouterr().err
    assert "second" in log and "first" not in log


def test_a_running_job_is_not_started_twice(jobs: LocalJobs) -> None:
    threads = [threading.Thread(target=jobs.send, args=[job(seconds=4)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = jobs.state("train-x-0")
    assert state is not None and state.status == "RUNNING"
    os.kill(child(jobs), signal.SIGKILL)
    assert ended(jobs).exit_code == 128 + signal.SIGKILL
    assert jobs.logs("train-x-0").count("hello") == 1


def test_a_killed_job_is_known_from_a_running_one(jobs: LocalJobs) -> None:
    jobs.send(job(seconds=60))
    child(jobs)
    wrapper = json.loads(jobs.store.job("train-x-0").record.read_text())["pid"]
    os.kill(wrapper, signal.SIGKILL)  # the job itself continues
    state = jobs.state("train-x-0")
    assert state is not None and state.status == "RUNNING"
    os.killpg(wrapper, signal.SIGKILL)
    state = ended(jobs)
    assert (state.status, state.exit_code) == ("FAILED", None) and "killed" in state.message


def test_a_job_can_be_stopped(jobs: LocalJobs) -> None:
    jobs.send(job(seconds=60))
    child(jobs)
    jobs.stop("train-x-0")
    assert ended(jobs).status == "STOPPED"


def test_nothing_secret_is_stored(jobs: LocalJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-91")
    jobs.send(job())
    ended(jobs)
    files = [path for path in jobs.store.job("train-x-0").path.rglob("*") if path.is_file()]
    assert len(files) >= 4 and not [path for path in files if b"canary-91" in path.read_bytes()]
    assert "canary-91" not in jobs.render(job()) and sys.executable in jobs.render(job())


def test_a_store_in_a_bucket_leaves_logs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    assert LocalJobs().store.job("train-x-0").path == tmp_path / "store" / "jobs" / "train-x-0"


@pytest.mark.parametrize("id", ["../x", "/absolute", "a/b", "..", "", "a\x1b[31m", "a\n", "x" * 200])
@pytest.mark.parametrize("options", [{}, {"stop": True}, {"logs": True}], ids=["state", "stop", "logs"])
def test_an_id_is_a_name(jobs: LocalJobs, tmp_path: Path, id: str, options: dict[str, Any]) -> None:
    outside = tmp_path / "store" / "x"
    outside.mkdir(parents=True)
    for name in ("lock", "log"):
        (outside / name).write_text("precious")
    (outside / "process.json").write_text('{"pid": 4, "command": [], "log_start": 0}')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"--id = .*: not a name; "):
        ask(id=id, **options)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("options", [{}, {"stop": True}, {"logs": True}], ids=["state", "stop", "logs"])
def test_asking_for_a_job_that_does_not_exist_writes_nothing(
    jobs: LocalJobs, tmp_path: Path, options: dict[str, Any]
) -> None:
    (tmp_path / "store" / "jobs" / "not-a-job").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    for id in ("train-x-0", "not-a-job"):
        with pytest.raises(InputError, match=f"--id {id}: no such job on target local"):
            ask(id=id, **options)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"pid": "4", "command": [], "log_start": 0}',
        '{"pid": -1, "command": [], "log_start": 0}',
        '{"pid": 0, "command": [], "log_start": 0}',
        '{"pid": 1, "command": [], "log_start": 0}',
        '{"pid": 1e400, "command": [], "log_start": 0}',
        '{"pid": 99999999999999999999, "command": [], "log_start": 0}',
        '{"pid": 4, "command": "x", "log_start": 0}',
        '{"pid": 4, "command": [], "log_start": "0"}',
        '{"pid": 4, "command": [], "log_start": -1}',
    ],
)
def test_a_damaged_record_sends_no_signal(jobs: LocalJobs, content: str) -> None:
    jobs.send(job(seconds=60))
    process = child(jobs)
    record = jobs.store.job("train-x-0").record
    good = record.read_bytes()
    record.write_text(content)
    for call in (jobs.stop, jobs.follow):
        with pytest.raises(InputError, match=r"process\.json: .*; stop the job by hand if it runs, delete its folder"):
            call("train-x-0")
    os.kill(process, 0)
    state = jobs.state("train-x-0")
    assert state is not None and state.status == "RUNNING"
    record.write_bytes(good)
    jobs.stop("train-x-0")
    assert ended(jobs).status == "STOPPED"


def test_the_group_of_another_process_gets_no_signal(jobs: LocalJobs) -> None:
    jobs.send(job(seconds=60))
    child(jobs)
    record = jobs.store.job("train-x-0").record
    good = record.read_bytes()
    victim = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        record.write_text(json.dumps(json.loads(good) | {"pid": victim.pid}))
        with pytest.raises(InputError, match=f"pid {victim.pid} is not this job's on this machine"):
            jobs.stop("train-x-0")
        assert victim.poll() is None and not jobs.store.job("train-x-0").stopped.exists()
    finally:
        victim.kill()
        victim.wait()
    record.write_bytes(good)
    jobs.stop("train-x-0")
    assert ended(jobs).status == "STOPPED"


@pytest.mark.parametrize("content", [b"", b"x", b"-1", b"256", b"[]", b"0x1", b"1 2", b"\xff", b"9" * 5000])
def test_a_damaged_exit_code_is_named(jobs: LocalJobs, content: bytes) -> None:
    jobs.send(job())
    ended(jobs)
    jobs.store.job("train-x-0").exit_code.write_bytes(content)
    with pytest.raises(InputError, match=r"exit_code: .* is not an exit code; delete the file") as caught:
        ask(id="train-x-0")
    assert str(caught.value).isprintable()


def test_a_missing_log_and_a_log_that_is_a_link_are_named(jobs: LocalJobs, tmp_path: Path) -> None:
    jobs.send(job())
    ended(jobs)
    log = jobs.store.job("train-x-0").log
    log.unlink()
    with pytest.raises(InputError, match="log: the job has left no such file; submit it again"):
        ask(id="train-x-0", logs=True)
    (tmp_path / "secret").write_text("precious")
    log.symlink_to(tmp_path / "secret")
    for call in (lambda: ask(id="train-x-0", logs=True), lambda: jobs.send(job())):
        with pytest.raises(InputError, match="log: a link, a pipe or a folder, not the job's file"):
            call()
    assert (tmp_path / "secret").read_text() == "precious"
