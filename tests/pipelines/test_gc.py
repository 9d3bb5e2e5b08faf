"""Only what nothing refers to goes, and only once it is old."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import NoReturn

import pytest

from aunet.errors import InputError
from pipelines.data.preparation import Tasks
from pipelines.data.shard_writer import ShardTask, write_shard
from pipelines.gc import Orphan, _prepared, gc
from pipelines.preprocess import preprocess
from pipelines.store import storage
from pipelines.store.checkpoints import Checkpoint, Checkpoints
from pipelines.store.in_use import in_use
from pipelines.store.layout import PreparedPool, Store
from pipelines.store.run_folder import RunFolder
from pipelines.verify import verify
from tests.preparing import config_of, contents, preprocess_here

OLD = 48 * 3600


@pytest.fixture
def store(raw: Path) -> Path:
    """Prepared data, and the rest of a run that was killed before its manifest."""
    done: list[ShardTask] = []

    def killed(tasks: Tasks) -> NoReturn:
        done.extend(islice(tasks, 2))
        raise KeyboardInterrupt

    preprocess_here(config_of(raw, rows_per_shard=2))
    (raw / "train" / "000000.jpg").write_bytes((raw / "train" / "000001.jpg").read_bytes())
    with pytest.raises(KeyboardInterrupt):
        preprocess(config_of(raw, rows_per_shard=2), run_tasks=killed)
    for task in done:
        write_shard(task)
    return Path(storage.store_root())


def age(folder: Path) -> None:
    for path in folder.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (path.stat().st_atime - OLD, path.stat().st_mtime - OLD))


HALF, WHOLE = "checkpoints/0000000001-0000aaaa", "checkpoints/0000000002-0000bbbb"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run with three checkpoints, of which two are complete."""
    run = tmp_path / "store/runs/one"
    for name in (HALF, WHOLE, "checkpoints/0000000003-0000cccc", "model"):
        (run / name).mkdir(parents=True)
        (run / name / "state.pt").write_bytes(b"12345")
        if name != HALF:
            (run / name / "sha256.json").write_bytes(b"{}")
    Store.here().claim()
    age(tmp_path / "store")
    return run.parent


def test_the_rest_of_a_killed_run_goes_and_nothing_else(store: Path, raw: Path) -> None:
    before = contents(store)
    assert gc().deleted == (), "it is young: somebody may be at work"
    age(store)
    planned = gc(dry_run=True)
    assert contents(store) == before and len(planned.deleted) == 2 and planned.dry_run
    assert {Path(uri).parent.name for uri in planned.deleted} == {"shards", "receipts"}
    result = gc()
    assert result.deleted == planned.deleted and result.num_bytes == planned.num_bytes > 0
    assert set(before) - set(contents(store)) == {str(Path(u).relative_to(store)) for u in result.deleted}
    assert gc().deleted == () and verify(str(store)).problems == []
    preprocess_here(config_of(raw, rows_per_shard=2))


def test_checkpoints_from_which_no_run_resumes(runs: Path) -> None:
    run = runs / "one"
    result = gc()
    deleted = [str(run / HALF)]
    assert result.to_json() == {"deleted": deleted, "aborted": [], "bytes": 5, "closed": [], "dry_run": False}
    assert (result.text, result.exit_code) == ("", 0)
    assert not (run / HALF).exists() and (run / WHOLE / "state.pt").exists()


def test_parts_of_evaluations_that_were_given_up(runs: Path) -> None:
    """Of the run's own report and of one on other data; the report itself stays."""
    folders = [RunFolder(str(runs / "one")).report(), RunFolder(str(runs / "one")).report("0123456789abcdef")]
    for folder in folders:
        storage.write_bytes(folder.document_uri, b"{}")
        folder.parts("fedcba9876543210").write(3, {})
    uris = [folder.parts("fedcba9876543210").uri for folder in folders]
    assert not set(uris) & set(gc().deleted), "somebody may go on"
    age(runs)
    assert set(uris) <= set(gc().deleted)
    assert all(storage.exists(folder.document_uri) and folder.left_parts() == [] for folder in folders)


def test_what_cannot_be_read_stops_everything(store: Path) -> None:
    age(store)
    manifest = next(store.rglob("manifest.json"))
    manifest.write_text("{}")
    before = contents(store)
    with pytest.raises(InputError, match="damaged"):
        gc()
    assert contents(store) == before


def test_no_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"AUNET_STORE = .*: no such store"):
        gc()


def test_a_folder_that_is_no_store_is_left_alone(store: Path) -> None:
    age(store)
    Path(Store.here().marker_uri).unlink()
    before = contents(store)
    with pytest.raises(
        InputError, match=r"not marked as a store.*run `preprocess` again or put a file aunet-store.json"
    ):
        gc()
    assert contents(store) == before


def test_preprocess_again_marks_an_older_store(store: Path, raw: Path) -> None:
    Path(Store.here().marker_uri).unlink()
    preprocess_here(config_of(raw, rows_per_shard=2))
    assert gc().deleted == ()


@pytest.mark.parametrize("hours", [math.nan, math.inf, -math.inf, -1.0, -1e-9])
def test_an_age_is_a_number_of_hours(store: Path, hours: float) -> None:
    before = contents(store)
    with pytest.raises(InputError, match=r"--older-than-hours = .*: use a number of 0 or more"):
        gc(older_than_hours=hours)
    assert contents(store) == before
    assert gc(older_than_hours=1e300).deleted == () and len(gc(older_than_hours=0.0).deleted) == 2


def _pool_folder(outside: Path, store: Path, runs: Path) -> None:
    (store / "prepared" / "elsewhere").symlink_to(outside)


def _shards(outside: Path, store: Path, runs: Path) -> None:
    shutil.move(store / "prepared" / "shards", outside / "shards")
    (store / "prepared" / "shards").symlink_to(outside / "shards")


def _pool(outside: Path, store: Path, runs: Path) -> None:
    shutil.move(store / "prepared", outside / "prepared")
    (store / "prepared").symlink_to(outside / "prepared")


def _run(outside: Path, store: Path, runs: Path) -> None:
    shutil.move(runs / "one", outside / "one")
    (runs / "one").symlink_to(outside / "one")


def _checkpoint(outside: Path, store: Path, runs: Path) -> None:
    shutil.move(runs / "one" / HALF, outside / "half")
    (runs / "one" / HALF).symlink_to(outside / "half")


def _runs(outside: Path, store: Path, runs: Path) -> None:
    shutil.move(runs, outside / "runs")
    runs.symlink_to(outside / "runs")


def _file_in_checkpoint(outside: Path, store: Path, runs: Path) -> None:
    (runs / "one" / HALF / "link").symlink_to(outside)


@pytest.mark.parametrize(
    "plant", [_pool_folder, _shards, _pool, _run, _runs, _checkpoint, _file_in_checkpoint], ids=lambda f: f.__name__
)
def test_links_are_never_followed(
    store: Path, runs: Path, tmp_path: Path, plant: Callable[[Path, Path, Path], None]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / f"{'0' * 32}.parquet").write_bytes(b"precious")
    plant(outside, store, runs)
    age(store)
    age(outside)
    before = contents(outside)
    gc()
    assert contents(outside) == before


def test_files_of_others_are_left_alone_and_counted(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = ["notes.txt", "shards/mine.parquet", "receipts/mine.json", "abc/train-0.index.parquet", "x/y/z"]
    for name in others:
        (store / "prepared" / name).parent.mkdir(parents=True, exist_ok=True)
        (store / "prepared" / name).write_bytes(b"precious")
    age(store)
    assert len(gc().deleted) == 2
    assert f"prepared: left alone, {len(others)} files of others, such as " in capsys.readouterr().err
    assert all((store / "prepared" / name).exists() for name in others)


def test_what_somebody_writes_is_left_alone_whatever_its_age(
    store: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    age(store)
    here = Store.here()
    before = contents(store)
    with in_use(here.pool.in_use_uri), in_use(here.run("one").in_use_uri):
        age(store)
        assert gc(older_than_hours=0).deleted == ()
    errors = capsys.readouterr().err
    assert f"prepared: left alone, written by {os.uname().nodename}/{os.getpid()} since 20" in errors
    assert "runs/one: left alone, written by " in errors
    assert contents(store) == before
    assert len(gc().deleted) == 3


def test_who_ends_while_the_folders_are_listed_keeps_what_it_wrote(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed(pool: PreparedPool) -> list[Orphan]:
        found = list(_prepared(pool))
        writing.close()
        return found

    age(store)
    with contextlib.ExitStack() as writing:
        writing.enter_context(in_use(Store.here().pool.in_use_uri))
        monkeypatch.setattr("pipelines.gc._prepared", listed)
        assert gc().deleted == () and not list(Path(Store.here().pool.in_use_uri).iterdir())


def test_who_begins_during_the_deletion_ends_it(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What goes first is a receipt: without it the one who begins does not count on the shard."""
    age(store)
    delete = storage.delete
    with contextlib.ExitStack() as writing, monkeypatch.context() as patch:

        def begun(uri: str) -> None:
            delete(uri)
            writing.enter_context(in_use(Store.here().pool.in_use_uri))

        patch.setattr(storage, "delete", begun)
        (deleted,) = gc().deleted
        assert Path(deleted).parent.name == "receipts"
        assert "prepared: left alone, written by " in capsys.readouterr().err


def test_a_checkpoint_that_goes_while_the_folders_are_listed_is_no_mistake(
    store: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(store)
    others = Checkpoints.others

    def pruned(self: Checkpoints) -> list[Checkpoint]:
        found = list(others(self))
        shutil.rmtree(found[0].uri)
        return found

    monkeypatch.setattr(Checkpoints, "others", pruned)
    assert len(gc().deleted) == 2


def test_preprocessing_marks_what_it_writes(raw: Path) -> None:
    marks: list[int] = []

    def look(tasks: Tasks) -> NoReturn:
        marks.append(len(storage.list_files(Store.here().pool.in_use_uri)))
        assert gc(older_than_hours=0).deleted == ()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preprocess(config_of(raw), run_tasks=look)
    assert marks == [1] and not list(Path(Store.here().pool.in_use_uri).iterdir())


def test_a_bucket_is_collected_alike(store: Path, runs: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.upload_folder(store, s3)
    monkeypatch.setenv("AUNET_STORE", s3)
    assert gc().deleted == ()
    storage.delete(Store.here().marker_uri)
    with pytest.raises(InputError, match="not marked as a store"):
        gc(older_than_hours=0)
    Store.here().claim()
    with in_use(Store.here().pool.in_use_uri), in_use(Store.here().run("one").in_use_uri):
        assert gc(older_than_hours=0).deleted == ()
    assert len(gc(older_than_hours=0).deleted) == 3
