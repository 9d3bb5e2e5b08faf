"""The logs of a job: those of its own driver and workers, their ends, and of no other job."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
import ray

from pipelines.runtime.job_logs import MAX_FILE, MAX_NODE, collect_logs, read_logs, submission_id


def test_only_what_belongs_to_the_job_is_read(tmp_path: Path) -> None:
    names = {
        "worker-aa-01000000-7.out": b"ours",
        "worker-aa-01000000-7.err": b"",
        "worker-cc-ffffffff-9.out": b":job_id:01000000\nours too",
        "worker-dd-ffffffff-9.out": b":job_id:02000000\nanother job's, of :job_id:01000000 it speaks only",
        "worker-bb-02000000-8.out": b"another job's",
        "job-driver-mine.log": b"driver",
        "job-driver-other.log": b"another driver",
        "raylet.out": b"ray",
    }
    for name, content in names.items():
        (tmp_path / name).write_bytes(content)
    assert read_logs("01000000", "mine", tmp_path) == {
        "worker-aa-01000000-7.out": b"ours",
        "worker-cc-ffffffff-9.out": b":job_id:01000000\nours too",
        "job-driver-mine.log": b"driver",
    }
    assert read_logs("01000000", "", tmp_path).keys() == {"worker-aa-01000000-7.out", "worker-cc-ffffffff-9.out"}


def test_of_a_long_log_the_end_is_read_and_of_many_the_newest(tmp_path: Path) -> None:
    for number in range(MAX_NODE // MAX_FILE + 3):
        path = tmp_path / f"worker-{number:02}-01-1.out"
        path.write_bytes(b"x" * MAX_FILE + f"end {number}".encode())
        os.utime(path, (number, number))
    logs = read_logs("01", "", tmp_path)
    assert len(logs) == MAX_NODE // MAX_FILE and "worker-00-01-1.out" not in logs
    assert all(len(content) == MAX_FILE and b"end" in content for content in logs.values())


def test_the_submission_is_known_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert submission_id() == ""
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"metadata": {"job_submission_id": "train-x"}}))
    assert submission_id() == "train-x"
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{")
    assert submission_id() == ""


def test_what_workers_print_is_collected(ray_cluster: None) -> None:
    def speak() -> None:
        print("hello from a worker", file=sys.stderr, flush=True)

    ray.get(ray.remote(num_cpus=0)(speak).remote())
    deadline = time.monotonic() + 300
    while not any(b"hello from a worker" in content for content in collect_logs().values()):
        assert time.monotonic() < deadline
