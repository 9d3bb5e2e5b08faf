"""Marks of those who write: there while they do, renewed, and expired when they died."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.in_use import in_use, writers


@pytest.fixture(params=["folder", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    root = str(tmp_path / "root") if request.param == "folder" else request.getfixturevalue("s3")
    return storage.join(root, "in_use")


def test_everybody_who_writes_is_named_until_the_end(uri: str) -> None:
    assert writers(uri) == []
    with in_use(uri):
        with in_use(uri):
            assert [holding.holder for holding in writers(uri)] == [f"{os.uname().nodename}/{os.getpid()}"] * 2
        assert len(writers(uri)) == 1
    assert writers(uri) == [] and (not storage.exists(uri) or storage.list_files(uri) == [])


def test_a_mark_is_renewed_and_goes_after_an_error(uri: str) -> None:
    def fail() -> None:
        with in_use(uri, seconds=0.6):
            first = writers(uri)[0].expires
            while time.time() <= first:
                time.sleep(0.05)
            assert writers(uri)[0].expires > first
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert writers(uri) == []


def test_the_mark_of_one_who_died_expires(uri: str) -> None:
    with in_use(uri, seconds=100, now=lambda: 1000.0):
        assert len(writers(uri, now=lambda: 1099.0)) == 1
        assert writers(uri, now=lambda: 1100.0) == []


def test_the_next_who_writes_removes_expired_marks(uri: str) -> None:
    with in_use(uri, seconds=100, now=lambda: 1000.0), in_use(uri, seconds=100, now=lambda: 1050.0):
        assert len(storage.list_files(uri)) == 2
        with in_use(uri, seconds=100, now=lambda: 1100.0):
            assert len(storage.list_files(uri)) == 2


def test_a_damaged_mark_is_named(uri: str) -> None:
    storage.write_bytes(storage.join(uri, "x.json"), b"{")
    with pytest.raises(InputError, match=r"x\.json: not JSON .*; delete the file once nobody works here any more"):
        writers(uri)
