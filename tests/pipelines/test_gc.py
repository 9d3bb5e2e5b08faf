"""Only what nothing refers to goes, and only once it is old."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NoReturn

import pytest

from aunet.errors import InputError
from pipelines.data.shard_writer import ShardTask, write_shard
from pipelines.gc import gc
from pipelines.preprocess import preprocess
from pipelines.store import storage
from pipelines.verify import verify
from tests.preparing import config_of, contents, preprocess_here

OLD = 48 * 3600


@pytest.fixture
def store(raw: Path) -> Path:
    """Prepared data, and the rest of a run that was killed before its manifest."""
    done: list[ShardTask] = []

    def killed(tasks: list[ShardTask]) -> NoReturn:
        done.extend(tasks[:2])
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
        os.utime(path, (path.stat().st_atime - OLD, path.stat().st_mtime - OLD))


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


def test_checkpoints_from_which_no_run_resumes(tmp_path: Path) -> None:
    run = tmp_path / "store/runs/one"
    for name in ("checkpoint_1", "checkpoint_2", "checkpoint_3", "model"):
        (run / name).mkdir(parents=True)
        (run / name / "state.pt").write_bytes(b"12345")
    listed = {"checkpoint_results": [{"checkpoint_dir_name": "checkpoint_2", "metrics": {"step": 2}}]}
    newest = {"latest_checkpoint_result": {"checkpoint_dir_name": "checkpoint_3", "metrics": {"step": 3}}}
    (run / "checkpoint_manager_snapshot.json").write_text(json.dumps(listed | newest))
    age(tmp_path / "store")
    result = gc()
    assert result.to_json() == {"deleted": [str(run / "checkpoint_1")], "bytes": 5, "dry_run": False}
    assert (result.text, result.exit_code) == ("", 0)
    assert not (run / "checkpoint_1").exists() and (run / "checkpoint_3/state.pt").exists()


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
