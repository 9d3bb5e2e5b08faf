"""Leases: one holder at a time, on a folder and on S3, with threads, with processes, and after a kill."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import Unavailable
from pipelines.store import storage
from pipelines.store.holding import Holding
from pipelines.store.lease import SETTLE_SECONDS, Held, Lease, Lost, acquire, hold
from tests.commands import ROOT

ROUNDS = 12
CONTENDER = """
import json, sys
from pipelines.store import lease
print("ready", flush=True)
for line in sys.stdin:
    uri, seconds = json.loads(line)
    try:
        lease.acquire(uri, seconds, sleep=lambda s: None)
        print("won", flush=True)
    except lease.Held as held:
        print("held", flush=True)
"""
"""A process that tries for the lease at each URI on its stdin, and keeps what it wins."""


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["folder", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    root = str(tmp_path / "root") if request.param == "folder" else request.getfixturevalue("s3")
    return storage.join(root, "lease")


def files(uri: str) -> list[str]:
    return [file.path for file in storage.list_files(uri)]


def attempt(uri: str, clock: Callable[[], float] = time.time) -> bool:
    try:
        acquire(uri, 1000, now=clock, sleep=lambda _: time.sleep(0.05))
    except Held:
        return False
    return True


def test_one_holds_it_and_the_other_is_told_who(uri: str, clock: Clock) -> None:
    with hold(uri, 100, now=clock, sleep=lambda _: None):
        with pytest.raises(Held) as caught, hold(uri, 100, now=clock, sleep=lambda _: None):
            pytest.fail("two hold it")
        name = f"{os.uname().nodename}/{os.getpid()}"
        assert f"held by {name} since 2023-11-14T22:13:20+00:00, until 2023-11-14T22:15:00+00:00" in str(caught.value)
    with hold(uri, 100, now=clock, sleep=lambda _: None):
        pass
    assert files(uri) == ["000002.json"], "older numbers are cleaned up"


def test_a_remote_store_is_given_a_moment(uri: str) -> None:
    waits: list[float] = []
    acquire(uri, 100, sleep=waits.append)
    assert waits == ([SETTLE_SECONDS] if uri.startswith("s3://") else [])


def test_of_two_that_a_store_let_create_one_file_the_later_holds_it(s3: str) -> None:
    """Swift's If-None-Match is not atomic: another's write may land on ours."""
    uri = storage.join(s3, "lease")

    def overwrite(_: float) -> None:
        first = storage.join(uri, "000001.json")
        storage.write_bytes(first, json.dumps(json.loads(storage.read_bytes(first)) | {"token": "other"}).encode())

    with pytest.raises(Held):
        acquire(uri, 100, sleep=overwrite)


def test_of_many_threads_one_wins(uri: str, clock: Clock) -> None:
    for turn in range(ROUNDS):
        barrier = threading.Barrier(8)

        def contend(_: int, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return attempt(uri, clock)

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(contend, range(8))) == 1, f"round {turn}"
        clock.time += 1001  # what is held expires, and the next round takes it over


def test_of_many_processes_one_wins(uri: str) -> None:
    pool = [
        subprocess.Popen(
            [sys.executable, "-c", CONTENDER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    try:
        for process in pool:
            assert process.stdout and process.stdout.readline() == "ready\n"
        for turn in range(ROUNDS):
            word = json.dumps([storage.join(uri, str(turn)), 1000]) + "\n"
            for process in pool:
                assert process.stdin
                process.stdin.write(word)
                process.stdin.flush()
            answers = [process.stdout.readline().strip() for process in pool if process.stdout]
            assert sorted(answers) == ["held", "held", "held", "won"], f"round {turn}"
    finally:
        for process in pool:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("here", [True, False], ids=["of this machine", "of another"])
def test_a_killed_holder_is_succeeded(tmp_path: Path, here: bool) -> None:
    """At once where its end can be seen; else after its expiry."""
    uri = str(tmp_path / "lease")
    code = f"from pipelines.store.lease import hold\nwith hold({uri!r}, 3):\n print(flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout and holder.stdout.readline() == b"\n"
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    file = tmp_path / "lease/000001.json"
    record = json.loads(file.read_text())
    expires = record["expires"]
    if not here:
        file.write_text(json.dumps({**record, "process": f"another-{record['process']}"}))
        with pytest.raises(Held, match=f"/{holder.pid} since"):
            acquire(uri, 100, now=lambda: expires - 0.01)
    acquire(uri, 100, now=lambda: expires if not here else expires - 2).check()


def elsewhere(uri: str, clock: Clock, **changes: Any) -> Holding:
    """The lease of a process of another machine, which may have been lost."""
    holding = Holding.begin(100, clock())
    fields = {"holder": "lost/7", "process": "another-boot/pid:[4026531836]/7/70", **changes}
    holding = dataclasses.replace(holding, **fields)
    storage.write_bytes(storage.join(uri, "000001.json"), holding.to_bytes())
    return holding


def test_who_is_patient_outlives_a_machine_that_was_lost(uri: str, clock: Clock) -> None:
    elsewhere(uri, clock)

    def sleep(seconds: float) -> None:
        clock.time += seconds

    with pytest.raises(Held), hold(uri, 100, now=clock, sleep=sleep):
        pytest.fail("it waited for nothing")
    with hold(uri, 100, now=clock, sleep=sleep, patient=True) as lease:
        assert lease.record.since >= 1_700_000_100.0


def test_who_is_patient_leaves_those_alone_that_live(uri: str, clock: Clock) -> None:
    """One that renews its lease, and one of this machine, for which nobody waits."""
    holding = elsewhere(uri, clock)

    def renewed(seconds: float) -> None:
        clock.time += seconds
        later = dataclasses.replace(holding, expires=clock() + 100)
        storage.write_bytes(storage.join(uri, "000001.json"), later.to_bytes())

    with pytest.raises(Held), hold(uri, 100, now=clock, sleep=renewed, patient=True):
        pytest.fail("two hold it")
    assert clock() < 1_700_000_010.0
    elsewhere(uri, clock, process=Holding.begin(100, clock()).process)
    with pytest.raises(Held), hold(uri, 100, now=clock, sleep=lambda _: pytest.fail("waits"), patient=True):
        pytest.fail("two hold it")


def test_a_holder_renews_its_lease_while_it_works(tmp_path: Path) -> None:
    uri = str(tmp_path / "lease")
    with hold(uri, 1.5) as lease:
        first = lease.record.expires
        while time.time() <= first:
            time.sleep(0.1)
            assert not attempt(uri)
        lease.check()
        assert lease.record.expires > first


def test_renewed_in_time_it_is_held_on(uri: str, clock: Clock) -> None:
    lease = acquire(uri, 100, now=clock, sleep=lambda _: None)
    for _ in range(5):
        clock.time += 99
        assert not attempt(uri, clock)
        lease.renew()
    clock.time += 100
    assert attempt(uri, clock)


def no_answer(*arguments: object) -> None:
    raise Unavailable("the store does not answer")


def test_an_expiry_that_is_not_in_the_store_does_not_count(
    uri: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = acquire(uri, 100, now=clock, sleep=lambda _: None)
    clock.time += 60
    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_bytes", no_answer)
        with pytest.raises(Unavailable):
            lease.renew()
    clock.time += 60
    with pytest.raises(Lost, match="expired"):
        lease.check()


def test_a_store_that_does_not_answer_at_the_end_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "write_bytes", no_answer)
    with pytest.raises(KeyError, match="the outcome"), hold(str(tmp_path / "lease"), 100):
        raise KeyError("the outcome")


@pytest.mark.parametrize("taken", [False, True], ids=["expired", "taken"])
def test_one_who_was_suspended_learns_that_it_lost(uri: str, clock: Clock, taken: bool) -> None:
    lease = acquire(uri, 100, now=clock, sleep=lambda _: None)
    lease.check()
    clock.time += 100
    successor = acquire(uri, 1000, now=clock, sleep=lambda _: None) if taken else None
    for call in (lease.check, lease.renew):
        with pytest.raises(Lost, match="taken by" if taken else "expired at"):
            call()
    lease.release()
    if successor is not None:
        successor.check()


def test_a_loss_stops_the_work_and_is_what_is_raised(tmp_path: Path) -> None:
    uri, stopped = str(tmp_path / "lease"), threading.Event()

    def work() -> None:
        with hold(uri, 0.3, on_lost=stopped.set):
            storage.write_bytes(storage.join(uri, "000002.json"), (tmp_path / "lease/000001.json").read_bytes())
            assert stopped.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(Lost, match="taken by"):
        work()
    assert json.loads((tmp_path / "lease/000002.json").read_text())["expires"], "the successor's is left alone"


def test_a_number_that_was_cleaned_up_is_not_won_again(tmp_path: Path, clock: Clock) -> None:
    """A contender read that number 1 had expired, and is slow; meanwhile 2 came and went, and 3 is held."""
    uri = str(tmp_path / "lease")
    others: list[Lease] = []

    def slow() -> float:
        if not others:
            others.append(acquire(uri, 100, now=clock))
            others[0].release()
            others.append(acquire(uri, 100, now=clock))
        return clock()

    acquire(uri, 100, now=clock)
    clock.time += 100
    with pytest.raises(Held):
        acquire(uri, 100, now=slow)
    assert [other.number for other in others] == [2, 3]
    assert files(uri) == ["000002.json", "000003.json"]
