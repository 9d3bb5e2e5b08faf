"""Folders of the store have names, and a store is marked as one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.layout import Store


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store") if request.param == "folder" else request.getfixturevalue("s3"))


@pytest.mark.parametrize("name", ["../x", "..", "/absolute", "a/b", "", ".hidden", "a\n", "a\x1b[31m", "ü", "x" * 129])
@pytest.mark.parametrize("kind", ["run", "study", "retrain", "job", "pipeline_uri"])
def test_what_is_in_a_store_has_a_name(store: Store, kind: str, name: str) -> None:
    with pytest.raises(InputError, match="not a name; use up to 128 letters") as caught:
        getattr(store, kind)(name)
    assert str(caught.value).isprintable()


def test_a_store_is_marked_once_and_told_from_other_folders(store: Store) -> None:
    with pytest.raises(InputError, match=r"AUNET_STORE = .*: no such store"):
        store.check_claimed()
    storage.write_bytes(storage.join(store.uri, "precious"), b"1")
    with pytest.raises(InputError, match=r"not marked as a store, .* put a file aunet-store\.json into it"):
        store.check_claimed()
    store.claim()
    store.check_claimed()
    before = storage.list_files(store.uri)
    store.claim()
    assert storage.list_files(store.uri) == before


def test_odd_folders_are_not_runs_and_those_behind_links_are_told_apart(tmp_path: Path) -> None:
    runs = tmp_path / "store" / "runs"
    for name in ("one", "two words"):
        (runs / name).mkdir(parents=True)
    (runs / "link").symlink_to(shutil.copytree(runs / "one", tmp_path / "outside"))
    store = Store(str(tmp_path / "store"))
    assert [run.name for run in store.runs()] == ["link", "one"]
    assert [run.name for run in store.without_links()[1]] == ["one"]


def test_the_newest_tick_is_a_document(store: Store) -> None:
    folder = store.retrain("night")
    assert folder.newest_tick_uri() is None
    storage.write_bytes(storage.join(folder.ticks_uri, "notes.txt"), b"")
    assert folder.newest_tick_uri() is None
    storage.write_bytes(folder.tick_uri("a"), b"{}")
    assert folder.newest_tick_uri() == folder.tick_uri("a")
