"""Checkpoints are written while the training goes on; one that fails is a warning, and the next one counts."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from aunet.errors import Unavailable
from pipelines import presets
from pipelines.runtime.interruption import NotSaved
from pipelines.settings.overrides import override
from pipelines.store import storage
from pipelines.store.checkpoints import Checkpoints
from pipelines.store.history import History
from pipelines.store.lease import acquire
from pipelines.training import saving
from pipelines.training.checkpoint import Progress, read_checkpoint
from pipelines.training.saving import Saver, Stores


class Run:
    """A run's folder, a saver for it, and what it has posted."""

    def __init__(self, uri: str, **train: Any) -> None:
        self.uri, self.posted = uri, list[dict[str, Any]]()
        self.checkpoints, self.history = Checkpoints(storage.join(uri, "checkpoints")), History(uri)
        self.needed: frozenset[int] = frozenset()
        self.may_commit: Any = lambda: None
        settings = {f"train.{name}": value for name, value in train.items()}
        stores = Stores(
            checkpoints=self.checkpoints,
            history=self.history,
            may_commit=lambda: self.may_commit(),
            is_needed=lambda step: step in self.needed,
        )
        self.saver = Saver(override(presets.shapes_smoke(), settings), stores, self.posted.append)

    def save(self, step: int, value: float = 1.0) -> None:
        self.saver.save(Progress(step, (("a", 0, step),)), {"model": {"w": torch.full((1000,), value)}})
        self.saver.wait()

    def finish(self, hurried: bool = False) -> None:
        self.saver.finish(Progress(90), {"model": {"w": torch.ones(1000)}}, lambda: hurried)

    @property
    def steps(self) -> list[int]:
        return [checkpoint.step for checkpoint in self.checkpoints.complete()]


@pytest.fixture(params=["folder", "s3"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    root = str(tmp_path / "root") if request.param == "folder" else request.getfixturevalue("s3")
    return Run(storage.join(root, "runs", "one"))


def test_a_checkpoint_and_its_figures_are_stored(run: Run) -> None:
    run.saver.events.append({"kind": "step", "step": 7, "loss": 2.0})
    before = run.saver.saved_at
    run.save(10)
    run.finish()
    (checkpoint,) = run.checkpoints.complete()
    with storage.local_folder(checkpoint.uri) as local:
        progress, state = read_checkpoint(local)
    assert progress.step == 10 == checkpoint.step and state["model"]["w"].sum() == 1000
    assert run.history.events() == [{"kind": "step", "step": 7, "loss": 2.0}] and run.saver.events == []
    (event,) = run.posted
    assert event["kind"] == "checkpoint" and event["name"] == checkpoint.name and event["bytes"] > 4000
    assert run.saver.saved_at > before


def test_the_training_goes_on_meanwhile(tmp_path: Path) -> None:
    run, go = Run(str(tmp_path / "run")), threading.Event()
    run.may_commit = lambda: go.wait(30)
    weights = torch.ones(1000)
    run.saver.save(Progress(10), {"model": {"w": weights}})
    weights.zero_()  # the next step
    assert run.saver.is_busy and run.steps == []
    go.set()
    run.saver.wait()
    with storage.local_folder(run.checkpoints.complete()[0].uri) as local:
        assert read_checkpoint(local)[1]["model"]["w"].sum() == 1000


def test_one_that_fails_is_a_warning_and_the_next_one_counts(run: Run) -> None:
    run.save(10)

    def away() -> None:
        raise Unavailable("s3://bucket: no answer")

    run.may_commit = away
    run.saver.events.append({"kind": "step", "step": 15})
    run.save(20)
    assert run.steps == [10]
    assert run.posted[-1]["text"] == "no checkpoint of step 20: s3://bucket: no answer"
    run.may_commit = lambda: None
    run.save(30)
    assert run.steps == [10, 30] and run.checkpoints.others() == []
    assert [event["step"] for event in run.history.events()] == [15]


def test_figures_that_were_not_stored_come_with_the_next_one(tmp_path: Path) -> None:
    run = Run(str(tmp_path / "run"))
    run.saver.events.append({"kind": "step", "step": 5})
    Path(run.uri).mkdir()
    (Path(run.uri) / "events").write_text("a file in the way")
    run.save(10)
    assert run.posted[-1]["kind"] == "warning" and run.steps == []
    (Path(run.uri) / "events").unlink()
    run.saver.events.append({"kind": "step", "step": 15})
    run.save(20)
    assert [event["step"] for event in run.history.events()] == [5, 15]


@pytest.mark.parametrize(
    ("train", "needed", "left"),
    [
        ({}, set(), [40, 50]),
        ({"keep_last": 1}, set(), [50]),
        ({"keep_last": 2}, {10}, [10, 40, 50]),
    ],
)
def test_what_is_no_longer_needed_goes(
    tmp_path: Path, train: dict[str, int], needed: set[int], left: list[int]
) -> None:
    run = Run(str(tmp_path / "run"), **train)
    run.needed = frozenset(needed)
    half = run.checkpoints.new(3)
    storage.write_bytes(storage.join(half.uri, "state.pt"), b"never completed")
    for step in range(10, 60, 10):
        run.save(step)
    assert run.steps == left and run.checkpoints.others() == []


def test_whoever_lost_the_lease_commits_nothing(tmp_path: Path) -> None:
    run = Run(str(tmp_path / "run"))
    stale = acquire(f"{run.uri}/in_use", 10, now=lambda: 1000.0)
    run.may_commit = stale.fence.check
    run.save(10)
    acquire(f"{run.uri}/in_use", 10, now=lambda: 2000.0)
    run.save(20)
    assert run.steps == [10]
    assert "lease lost: taken by" in run.posted[-1]["text"]


def test_the_last_one_is_tried_again_until_the_store_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "RETRY_SECONDS", 0.01)
    run, answers = Run(str(tmp_path / "run")), iter([False, False, True])

    def may_commit() -> None:
        if not next(answers):
            raise OSError(28, "No space left on device", "state.pt")

    run.may_commit = may_commit
    run.save(90)
    assert run.steps == []
    run.finish()
    assert run.steps == [90] and [event["kind"] for event in run.posted] == ["warning", "warning", "checkpoint"]


def test_the_last_one_is_lost_where_nobody_can_wait(tmp_path: Path) -> None:
    run = Run(str(tmp_path / "run"))

    def away() -> None:
        raise Unavailable("s3://bucket: no answer")

    run.may_commit = away
    run.save(90)
    with pytest.raises(NotSaved, match="no checkpoint of step 90 could be stored: s3://bucket: no answer; mend that"):
        run.finish(hurried=True)
