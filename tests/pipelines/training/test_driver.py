"""The driver before an attempt, and while it waits for measurements; in an attempt: test_supervision.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from aunet.errors import InputError, Unavailable
from pipelines import presets
from pipelines.runtime.interruption import Preempted, Signals
from pipelines.settings.overrides import override
from pipelines.store.artifacts import PreparedData
from pipelines.store.history import History
from pipelines.store.lease import acquire
from pipelines.store.run_folder import RunFolder
from pipelines.training import driver as module
from pipelines.training.driver import Driver
from pipelines.training.record import RunRecord
from pipelines.training.supervision import AttemptOutcome


def waiting_driver(folder: RunFolder, signals: Signals) -> Driver:
    """A driver of a run that is trained and has one measurement that never comes."""
    config = override(presets.shapes_smoke(), {"train.validate": "beside", "train.evaluate_every": 1})
    prepared = PreparedData(uri="prepared", fingerprint="f", num_images={"train": 512, "val": 64})
    driver = Driver(config, prepared, folder, acquire(folder.in_use_uri, 60), signals, [], None, None, "")
    driver.validations = mock.Mock(waiting=["one"], poll=lambda seconds: [])
    return driver


@pytest.mark.parametrize(("name", "error"), [("SIGTERM", Preempted), ("SIGINT", KeyboardInterrupt)])
def test_a_signal_ends_the_wait_for_measurements(tmp_path: Path, name: str, error: type[BaseException]) -> None:
    folder, signals = RunFolder(str(tmp_path / "run")), Signals()
    driver = waiting_driver(folder, signals)
    signals.name = name
    last = SimpleNamespace(complete=lambda: [SimpleNamespace(step=driver.plan.num_steps)])
    with mock.patch.object(RunFolder, "checkpoints", last), pytest.raises(error):
        driver._release(RunRecord(History(folder.uri), []))


@pytest.mark.parametrize(
    ("stored", "release", "published"),
    [([4], "last", None), ([4, 8], "last", 8), ([4, 8, 11], "last", 8), ([4, 11], "last", 11), ([4, 8, 11], "best", 4)],
)
def test_where_patience_ran_out_the_checkpoint_of_that_step_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: list[int], release: str, published: int | None
) -> None:
    """It may be lost on its way into the store, and others may be stored while it is measured."""
    folder = RunFolder(str(tmp_path / "run"))
    driver = waiting_driver(folder, Signals())
    driver.validations = mock.Mock(waiting=[])
    driver.config = override(driver.config, {"train.patience": 1, "train.release": release})
    record = RunRecord(History(folder.uri), [])
    for step, quality in ((4, 3.0), (8, 2.0), (11, 9.0)):
        record.insert({"kind": "evaluation", "step": step, "PQ": quality})
    monkeypatch.setattr(module, "publish", lambda *_: None)
    checkpoints = SimpleNamespace(complete=lambda: [SimpleNamespace(step=step) for step in stored])
    with mock.patch.object(RunFolder, "checkpoints", checkpoints):
        checkpoint = driver._release(record)
    assert (checkpoint.step if checkpoint else None) == published


@pytest.mark.parametrize(("passes", "error"), [(True, Unavailable), (False, InputError)])
def test_a_store_that_is_away_at_the_end_is_no_wrong_input(tmp_path: Path, passes: bool, error: Any) -> None:
    folder = RunFolder(str(tmp_path / "run"))
    outcome = AttemptOutcome("", "NotSaved: no checkpoint of step 90", is_final=True, passes=passes)
    with pytest.raises(error, match="no checkpoint of step 90"):
        waiting_driver(folder, Signals())._judge(outcome, RunRecord(History(folder.uri), []), 0)


@pytest.mark.parametrize(("ending", "failures"), [("exhausted", 1), ("", 1), ("drained", 0), ("grown", 0)])
def test_a_worker_that_dies_while_the_last_checkpoint_is_stored_is_a_failure(
    tmp_path: Path, ending: Any, failures: int
) -> None:
    folder = RunFolder(str(tmp_path / "run"))
    record = RunRecord(History(folder.uri), [])
    driver = waiting_driver(folder, Signals())
    assert driver._judge(AttemptOutcome(ending, "rank 0 was killed"), record, 0) == failures


@pytest.mark.parametrize(
    ("free", "expected"),
    [([8.0], 8), ([4.0], 4), ([1.0], 2), ([0.0, 5.0, 8.0], 8)],
    ids=["all", "others hold half", "others hold nearly all", "the last attempt's are given back"],
)
def test_as_many_workers_as_others_leave_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: list[float], expected: int
) -> None:
    """More would wait for the others, and for ever where those stay."""
    changes = {"train.num_workers": [2, 8], "train.batch_size": 8, "model.backbone.norm": "gn"}
    config = override(presets.shapes_smoke(), changes)
    monkeypatch.setattr(module, "healthy_resources", lambda: {"CPU": 8.0, "GPU": 0.0})
    monkeypatch.setattr(module, "free_resources", lambda: {"CPU": free[0], "GPU": 0.0})
    monkeypatch.setattr(module, "RELEASE_SECONDS", 0.1 if len(free) == 1 else 60.0)
    supervisor = mock.Mock(wait=lambda: free.pop(0) if len(free) > 1 else None)
    driver = waiting_driver(RunFolder(str(tmp_path / "run")), Signals())
    driver.config = config
    assert driver._workers(supervisor) == expected
