"""A save that ends at any of its operations leaves a checkpoint that loads: the old one or the new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.store import retries
from pipelines.store.run_folder import RunFolder
from tests.checkpointing import loaded, save, saver, with_checkpoints
from tests.crashes import Crash
from tests.fault_proxy import FaultProxy, running

pytestmark = [
    pytest.mark.faults,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


def check(folder: RunFolder) -> int:
    """The newest checkpoint loads, so does the history, and the next save leaves nothing behind. Its step."""
    complete = folder.checkpoints.complete()
    newest = loaded(complete[-1])
    assert newest in (2, 3) and [c.step for c in complete][-1] == newest
    assert {event["step"] for event in folder.history.events()} in ({1, 2}, {1, 2, 3})
    save(folder, 4)
    assert [loaded(c) for c in folder.checkpoints.complete()] == [newest, 4]
    assert folder.checkpoints.others() == []
    return newest


def save_until(uri: Path, at: int, *, after: bool) -> tuple[Crash, RunFolder]:
    folder = with_checkpoints(uri, 1, 2)
    crash = Crash(at, uri, after=after)
    with crash.armed():
        save(folder, 3)
    return crash, folder


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_at_every_operation_on_a_folder(tmp_path: Path, after: bool, capsys: pytest.CaptureFixture[str]) -> None:
    undisturbed, _ = save_until(tmp_path / "0", 0, after=after)
    assert undisturbed.count > 25
    results = []
    for at in range(1, undisturbed.count + 1):
        crash, folder = save_until(tmp_path / str(at), at, after=after)
        assert crash.fired.is_set()
        results.append(check(folder))
    assert results == sorted(results) and set(results) == {2, 3}
    with capsys.disabled():
        print(f"\ncrash points on a folder, {'after' if after else 'before'}: {len(results)} of {undisturbed.count}")


class Deadline(FaultProxy):
    """Answers so many requests; of the next one the answer is lost, or it does not arrive, and no other arrives.

    Refusals, which nobody repeats: a process that has died repeats nothing.
    """

    def __init__(self, upstream: str, passed: int, arrives: bool) -> None:
        super().__init__(upstream, 0.0)
        self.passed, self.arrives = passed, arrives

    def draw(self, method: str, path: str) -> tuple[str, bool]:
        with self._lock:
            self.seen["requests"] += 1
            number = self.seen["requests"]
        return ("passed", True) if number <= self.passed else ("403", self.arrives and number == self.passed + 1)


def save_through(uri: str, endpoint: str, passed: int, arrives: bool, monkeypatch: Any) -> tuple[int, RunFolder]:
    """Save with a store that goes away after so many requests; how many there were."""
    folder = with_checkpoints(uri, 1, 2)
    with running(Deadline(endpoint, passed, arrives)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        save(folder, 3, saver(folder))
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    return proxy.seen["requests"], folder


@pytest.mark.parametrize("arrives", [False, True], ids=["before", "after"])
def test_at_every_request_to_s3(
    s3: str, s3_endpoint: str, arrives: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(retries, "PATIENCE", 0.0)
    count, _ = save_through(f"{s3}/all", s3_endpoint, 10**6, arrives, monkeypatch)
    assert count > 15
    results = [
        check(save_through(f"{s3}/{passed}", s3_endpoint, passed, arrives, monkeypatch)[1]) for passed in range(count)
    ]
    assert set(results) == {2, 3}
    with capsys.disabled():
        print(f"\ncrash points on S3, {'after' if arrives else 'before'} the request arrives: {len(results)}")


def test_a_commit_before_the_files_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep can fail: with the list of hashes first, a crash leaves a checkpoint that counts and is not whole."""
    from pipelines.store import storage
    from pipelines.training import saving

    def hashes_first(folder: Path, uri: str, **_: Any) -> None:
        storage.write_bytes(storage.join(uri, "sha256.json"), (folder / "sha256.json").read_bytes())
        (folder / "sha256.json").unlink()
        storage.upload_folder(folder, uri)

    monkeypatch.setattr(saving, "upload_hashed", hashes_first)
    failed = 0
    for at in range(1, 30):
        _, folder = save_until(tmp_path / str(at), at, after=False)
        try:
            loaded(folder.checkpoints.complete()[-1])
        except Exception:
            failed += 1
    assert failed > 0
