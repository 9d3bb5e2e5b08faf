"""A server that fails: OpenStack Swift behind a proxy that refuses, hangs up, cuts off and stalls."""

from __future__ import annotations

import io
import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import Unavailable
from benchmarks.storage_faults import exercise
from jobs.__main__ import main
from pipelines.store import retries, s3, s3_filesystem, storage
from tests import fault_proxy
from tests.commands import NUM_STEPS, TINY_RUN, MainJob, jobs, weights_hash
from tests.swift import Swift

pytestmark = pytest.mark.faults
AT_ONCE = ("500", "503", "reset", "truncated")
DEADLINE = retries.PATIENCE + retries.MAX_ATTEMPTS * retries.REQUEST_TIMEOUT + 13
"""Seconds: an operation begun at the last moment, of which every request runs into its limit."""
PREPROCESS = ["preprocess", "shapes_smoke", *TINY_RUN]


@pytest.mark.parametrize("rate", [0.3, pytest.param(0.6, marks=pytest.mark.slow)])
def test_what_is_done_is_done_right(swift: Swift, swift_bucket: str, monkeypatch: Any, rate: float) -> None:
    monkeypatch.setattr(s3, "SETTLE_SECONDS", 0.1)
    with fault_proxy.serving(swift.endpoint, rate, AT_ONCE) as proxy:
        counts = exercise(proxy.endpoint, swift.endpoint, swift_bucket, 10)
    assert abs(proxy.share - rate) < 0.12
    assert {row.name: (row.right, row.wrong) for row in counts} == {row.name: (10, 0) for row in counts}


def test_one_creator_wins_also_when_answers_are_lost(swift: Swift, swift_bucket: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(s3, "SETTLE_SECONDS", 1.0)
    with fault_proxy.serving(swift.endpoint, 0.5, ("500", "reset")) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        uri = storage.join(swift_bucket, "lease")
        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(lambda n: storage.create_exclusive(uri, str(n).encode()), range(16)))
        assert sum(won) == 1 and storage.read_bytes(uri) == str(won.index(True)).encode()


@pytest.mark.parametrize("kind", [fault_proxy.HALF, "500", "reset"])
def test_of_a_write_that_fails_nothing_is_left(
    swift: Swift, swift_bucket: str, monkeypatch: Any, tmp_path: Path, kind: str
) -> None:
    """What was there before stays, whole; the answers of requests that arrive are lost here and there."""
    monkeypatch.setattr(retries, "PATIENCE", 0.0)
    monkeypatch.setattr(s3, "PART", 6_000_000)
    old, new = b"old" * 5_000_000, b"new" * 5_000_000
    storage.write_bytes(storage.join(swift_bucket, "old/file"), old)
    (tmp_path / "file").write_bytes(new)
    with fault_proxy.serving(swift.endpoint, 1.0, (kind,)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        for folder in ("old", "new"):
            uri = storage.join(swift_bucket, folder, "file")
            for write in (
                lambda uri=uri: storage.write_bytes(uri, new),
                lambda folder=folder: storage.upload_folder(tmp_path, storage.join(swift_bucket, folder)),
                lambda uri=uri: storage.create_exclusive(uri, new),
            ):
                with pytest.raises(Unavailable, match=f"{uri}: {proxy.endpoint} did not do it, asked"):
                    write()
    monkeypatch.setenv("AWS_ENDPOINT_URL", swift.endpoint)
    assert storage.read_bytes(storage.join(swift_bucket, "old/file")) == old
    if storage.exists(storage.join(swift_bucket, "new/file")):
        assert kind != fault_proxy.HALF and storage.read_bytes(storage.join(swift_bucket, "new/file")) == new


@pytest.mark.parametrize("server", ["s3", "swift_bucket"])
def test_a_large_file_is_written_whole(request: Any, monkeypatch: Any, tmp_path: Path, server: str) -> None:
    monkeypatch.setattr(s3, "PART", 6_000_000)
    uri = request.getfixturevalue(server)
    direct = os.environ["AWS_ENDPOINT_URL"]
    content = random.Random(0).randbytes(13_000_000)
    (tmp_path / "file").write_bytes(content)
    with fault_proxy.serving(direct, 0.5, AT_ONCE) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        storage.upload_folder(tmp_path, uri)
    monkeypatch.setenv("AWS_ENDPOINT_URL", direct)
    assert storage.read_bytes(storage.join(uri, "file")) == content


def test_five_seconds_of_silence_fail_nothing(
    swift: Swift, swift_bucket: str, monkeypatch: Any, tmp_path: Path
) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "file").write_bytes(b"f" * 1000)
    file, folder = storage.join(swift_bucket, "d/file"), storage.join(swift_bucket, "d")
    storage.write_bytes(file, b"f" * 1000)
    with fault_proxy.serving(swift.endpoint, 1.0, ("stall",), stall=5.0) as proxy, ThreadPoolExecutor(8) as pool:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        read = pool.submit(storage.read_bytes, file)
        listed = pool.submit(storage.list_files, folder)
        exists = pool.submit(storage.exists, file)
        written = pool.submit(storage.write_bytes, storage.join(swift_bucket, "new"), b"new")
        up = pool.submit(storage.upload_folder, tmp_path / "up", storage.join(swift_bucket, "up"))
        assert read.result() == b"f" * 1000 and exists.result()
        assert [f.path for f in listed.result()] == ["file"]
        assert (written.result(), up.result()) == (None, None)
        # Nothing had to be asked twice.
        assert proxy.seen == Counter(stall=len(proxy.asked)) and set(proxy.asked.values()) == {1}
    monkeypatch.setenv("AWS_ENDPOINT_URL", swift.endpoint)
    assert storage.read_bytes(storage.join(swift_bucket, "new")) == b"new"
    assert storage.read_bytes(storage.join(swift_bucket, "up/file")) == b"f" * 1000


def test_a_longer_silence_is_not_waited_for(swift: Swift, swift_bucket: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(s3, "REQUEST_TIMEOUT", 1)
    files = [storage.join(swift_bucket, name) for name in "abcd"]
    for uri in files:
        storage.write_bytes(uri, uri.encode())
    with fault_proxy.serving(swift.endpoint, 0.4, ("stall",), stall=60.0) as proxy, ThreadPoolExecutor(8) as pool:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        exist = pool.map(storage.exists, files)
        assert list(pool.map(storage.read_bytes, files)) == [uri.encode() for uri in files]
        assert all(exist)
        assert proxy.seen["stall"] > 0


@pytest.mark.parametrize("kind", [*AT_ONCE, "stall"])
def test_a_server_that_fails_for_good_ends_every_call_in_one_message(
    swift: Swift, swift_bucket: str, monkeypatch: Any, tmp_path: Path, kind: str
) -> None:
    monkeypatch.setattr(retries, "PATIENCE", 0.2)
    monkeypatch.setattr(s3_filesystem, "MAX_ATTEMPTS", 2)
    for module in (s3, s3_filesystem):
        monkeypatch.setattr(module, "REQUEST_TIMEOUT", 1)
    (tmp_path / "file").write_bytes(b"file")
    uri = storage.join(swift_bucket, "file")
    storage.write_bytes(uri, b"file")
    with fault_proxy.serving(swift.endpoint, 1.0, (kind,), stall=60.0) as proxy, ThreadPoolExecutor(8) as pool:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        calls: list[tuple[Any, ...]] = [
            (storage.read_bytes, uri), (storage.open_file, uri), (storage.list_files, swift_bucket),
        ]  # fmt: skip
        if kind != "truncated":  # where nothing but the status is wanted, the rest may be cut off
            calls += [
                (storage.exists, uri),
                (storage.delete, uri),
                (storage.write_bytes, uri, b"file"),
                (storage.create_exclusive, uri, b"file"),
                (storage.upload_folder, tmp_path, swift_bucket),
                (storage.download_folder, swift_bucket, tmp_path / "down"),
            ]
        for future in [pool.submit(*call) for call in calls]:
            with pytest.raises(Unavailable) as caught:
                future.result()
            assert all(text in str(caught.value) for text in (swift_bucket, proxy.endpoint, "asked", "`doctor`"))


def test_a_command_ends_in_one_message(swift: Swift, swift_bucket: str, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(s3_filesystem, "MAX_ATTEMPTS", 2)
    monkeypatch.setattr(retries, "PATIENCE", 0.2)
    out = io.StringIO()
    with fault_proxy.serving(swift.endpoint, 1.0, AT_ONCE[:3]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        monkeypatch.setenv("AUNET_STORE", swift_bucket)
        for words in (PREPROCESS, ["preprocess", "camvid_small", "--data.root", swift_bucket]):
            assert main(words, out) == 1
            printed = capsys.readouterr().err.splitlines()
            assert len(printed) == 1 and printed[0].startswith(f"error: {swift_bucket}")
            assert f"{proxy.endpoint} did not do it, asked" in printed[0]
    assert out.getvalue() == ""


def behind(proxy: fault_proxy.FaultProxy, server: Swift) -> dict[str, str]:
    """The environment of a command that reaches the server through the proxy."""
    return {**server.environment, "AWS_ENDPOINT_URL": proxy.endpoint}


def prepared(root: Path) -> dict[str, bytes]:
    """Path → content of all prepared data below a folder."""
    return {str(p.relative_to(root)): p.read_bytes() for p in (root / "prepared").rglob("*") if p.is_file()}


@pytest.mark.parametrize("rate", [0.3, pytest.param(0.6, marks=pytest.mark.slow)])
def test_preprocess_gives_the_same_bytes(
    swift: Swift, swift_bucket: str, main_job: MainJob, monkeypatch: Any, tmp_path: Path, rate: float
) -> None:
    with fault_proxy.serving(swift.endpoint, rate, AT_ONCE) as proxy:
        result, _ = jobs(swift_bucket, *PREPROCESS, more=behind(proxy, swift))
    print(f"{proxy.share:.0%} of {proxy.seen.total()} requests failed: {dict(proxy.seen)}")
    assert abs(proxy.share - rate) < 0.12
    monkeypatch.setenv("AWS_ENDPOINT_URL", swift.endpoint)
    storage.download_folder(swift_bucket, tmp_path / "copy")
    assert result["uri"].startswith(swift_bucket)
    assert prepared(tmp_path / "copy") == prepared(main_job.store)


@pytest.mark.slow
def test_training_gives_the_same_model(
    swift: Swift, swift_bucket: str, main_job: MainJob, monkeypatch: Any, tmp_path: Path
) -> None:
    with fault_proxy.serving(swift.endpoint, 0.3, fault_proxy.KINDS, stall=1.0) as proxy:
        variables = {**behind(proxy, swift), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
        result, _ = jobs(swift_bucket, "run", "shapes_smoke", *TINY_RUN, more=variables)
    print(f"{proxy.share:.0%} of {proxy.seen.total()} requests failed: {dict(proxy.seen)}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", swift.endpoint)
    storage.download_folder(swift_bucket, tmp_path / "copy")
    assert prepared(tmp_path / "copy") == prepared(main_job.store)
    assert weights_hash(tmp_path / "copy") == weights_hash(main_job.store)
    assert result["run"]["steps"] == NUM_STEPS


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["500", "reset", "truncated", "stall"])
def test_a_command_ends_within_the_deadline(swift: Swift, swift_bucket: str, tmp_path: Path, kind: str) -> None:
    with fault_proxy.serving(swift.endpoint, 1.0, (kind,), stall=600.0) as proxy:
        _, printed = jobs(swift_bucket, *PREPROCESS, rc=1, seconds=DEADLINE + 60, more=behind(proxy, swift))
    print(printed)
    assert printed.count("\n") == 1 and f"{proxy.endpoint} did not do it, asked" in printed
