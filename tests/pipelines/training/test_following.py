"""Two drivers of one run: one drives, the other returns its result, or succeeds it."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipelines.runtime.interruption import Preempted, Signals
from pipelines.store.artifacts import TrainedRun
from pipelines.store.lease import Held, Lease, hold
from pipelines.store.run_folder import RunFolder
from pipelines.training import following
from pipelines.training.following import drive_or_follow
from tests.commands import ROOT

RACES = 50


def result(folder: RunFolder) -> TrainedRun:
    return TrainedRun(uri=folder.uri, fingerprint="f", model_uri=f"{folder.uri}/model", mlflow_run_id="r", steps=3)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)


def test_of_two_that_race_one_writes_and_both_return_its_result(tmp_path: Path) -> None:
    writers = 0

    def race(number: int) -> None:
        nonlocal writers
        folder, busy = RunFolder(str(tmp_path / f"runs/{number}")), threading.Lock()
        drives = 0

        def drive(lease: Lease) -> TrainedRun:
            nonlocal drives
            assert busy.acquire(blocking=False), "two at a time"
            lease.fence.check()
            drives += 1
            folder.finish(result(folder))
            busy.release()
            return result(folder)

        with ThreadPoolExecutor(2) as pool:
            results = [pool.submit(drive_or_follow, folder, [], "attach", drive, signals=Signals()) for _ in range(2)]
        assert [future.result() for future in results] == [result(folder)] * 2
        assert drives == 1
        writers += drives

    for number in range(RACES):
        race(number)
    assert writers == RACES


def test_the_second_shows_what_the_first_does(tmp_path: Path) -> None:
    folder, seen = RunFolder(str(tmp_path / "run")), list[dict[str, Any]]()
    with hold(folder.in_use_uri, 60), ThreadPoolExecutor(1) as pool:
        folder.history.append([{"kind": "step", "step": 1}])

        def no_drive(lease: Lease) -> TrainedRun:
            raise AssertionError

        second = pool.submit(drive_or_follow, folder, [seen.append], "attach", no_drive, signals=Signals())
        while not seen:
            pass
        folder.history.append([{"kind": "step", "step": 2}])
        while len(seen) < 2:
            pass
        folder.finish(result(folder))
        assert second.result(300) == result(folder)
    assert [event["step"] for event in seen] == [1, 2]


def test_it_may_refuse_instead(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "run"))
    with hold(folder.in_use_uri, 60), pytest.raises(Held, match="held by"):
        drive_or_follow(folder, [], "refuse", lambda lease: result(folder), signals=Signals())


def test_it_succeeds_a_first_that_dies(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "run"))
    uri = folder.in_use_uri
    code = f"from pipelines.store.lease import hold\nwith hold({uri!r}, 600):\n print(flush=True); input()"
    first = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first.stdout and first.stdout.readline() == b"\n"
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(drive_or_follow, folder, [], "attach", lambda lease: result(folder), signals=Signals())
        with pytest.raises(TimeoutError):
            second.result(0.3)
        first.kill()
        first.communicate()
        assert second.result(300) == result(folder)


@pytest.mark.parametrize(("name", "error"), [("SIGTERM", Preempted), ("SIGINT", KeyboardInterrupt)])
def test_a_signal_ends_its_waiting_and_not_the_run(tmp_path: Path, name: str, error: type[BaseException]) -> None:
    folder, signals = RunFolder(str(tmp_path / "run")), Signals()
    with hold(folder.in_use_uri, 60), ThreadPoolExecutor(1) as pool:
        second = pool.submit(drive_or_follow, folder, [], "attach", lambda lease: result(folder), signals=signals)
        with pytest.raises(TimeoutError):
            second.result(0.3)
        signals.name = name
        with pytest.raises(error):
            second.result(300)
    assert folder.trained() is None
