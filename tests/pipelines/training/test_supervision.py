"""What the driver makes of events, signs of life and signals; with an attempt and a board that only look like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import ray
from ray.exceptions import WorkerCrashedError
from ray.train import TrainingFailedError

from pipelines import presets
from pipelines.runtime.board import Beat, Board
from pipelines.runtime.interruption import Preempted, Signals
from pipelines.settings.overrides import override
from pipelines.store.history import History
from pipelines.store.lease import acquire
from pipelines.store.run_folder import RunFolder
from pipelines.training import attempt as attempts, supervision
from pipelines.training.identity import plan_of
from pipelines.training.record import RunRecord
from pipelines.training.supervision import AttemptOutcome, Supervisor
from pipelines.training.validation import Validations


class Direct:
    """A board whose methods are called here, as if through Ray."""

    def __init__(self) -> None:
        self.board = Board()

    def __getattr__(self, name: str) -> Any:
        return mock.Mock(remote=getattr(self.board, name))


class Script:
    """An attempt that ends after some ticks, of which each does something."""

    def __init__(self, *ticks: Any, error: Exception | None = None, num_workers: int = 2) -> None:
        self.ticks, self.error, self.num_workers = [*ticks], error, num_workers

    def has_ended(self, seconds: float) -> bool:
        if not self.ticks:
            return True
        self.ticks.pop(0)()
        return False


class Watch:
    """A supervisor and all that it needs."""

    def __init__(self, folder: Path, **train: Any) -> None:
        settings = {
            "data.shapes.num_train": 16, "model.backbone.norm": "gn", "train.batch_size": 4, "train.epochs": 10,
        }  # fmt: skip
        config = override(presets.shapes_smoke(), settings | {f"train.{name}": value for name, value in train.items()})
        self.run = RunFolder(str(folder / "runs/one"))
        self.shown: list[dict[str, Any]] = []
        self.record = RunRecord(History(self.run.uri), [self.shown.append])
        self.board, self.signals = Direct(), Signals()
        self.lease = acquire(self.run.in_use_uri, 60)
        validations = Validations(config, "prepared", plan_of(config, 16))
        self.supervisor = Supervisor(config, self.run, self.board, self.record, validations, self.lease, self.signals)

    def watch(self, *ticks: Any, error: Exception | None = None) -> AttemptOutcome:
        attempt: Any = Script(*ticks, error=error)
        return self.supervisor.watch(attempt)

    def post(self, **event: Any) -> Any:
        return lambda: self.board.board.post({"at": 1.0, **event})

    def beat(self, rank: int, step: int, **more: Any) -> Any:
        beat = Beat(rank=rank, pid=100 + rank, host="h", node="n", step=step, phase="step", count=step)
        return lambda: self.board.board.beat(
            Beat(**{name: more.get(name, getattr(beat, name)) for name in beat.__slots__})
        )


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Processes that were ended; no cluster is asked."""
    ids: list[int] = []
    monkeypatch.setattr(ray, "get", lambda value: value)
    for module in (supervision, attempts):
        monkeypatch.setattr(module, "end_process", lambda pid, node: ids.append(pid))
    monkeypatch.setattr(supervision, "draining_nodes", set)
    monkeypatch.setattr(attempts, "living_nodes", lambda: {"n"})
    return ids


def lost() -> Exception:
    return TrainingFailedError("a worker died")


GLOO = "RuntimeError: [gloo/transport/tcp/pair.cc:561] Connection closed by peer"


def test_a_lone_worker_that_is_killed_is_named(tmp_path: Path, ended: list[int]) -> None:
    """It is a task, of which nothing but its signs of life is known."""
    watch = Watch(tmp_path)
    outcome = watch.watch(watch.beat(0, 7), error=WorkerCrashedError())
    assert outcome == AttemptOutcome("", "rank 0 (process 100 on h) was killed at step 7")


def test_a_killed_worker_is_named_and_its_partners_complaint_is_not_shown(tmp_path: Path, ended: list[int]) -> None:
    watch = Watch(tmp_path)
    echo = watch.post(kind="failure", step=7, rank=0, error=GLOO, final=False)
    outcome = watch.watch(watch.beat(0, 7), watch.beat(1, 6), echo, error=lost())
    assert outcome == AttemptOutcome("", "rank 1 (process 101 on h) was killed at step 6")
    assert watch.shown == []
    watch.supervisor.interruption = outcome.cause
    watch.watch(watch.post(kind="resume", step=5))
    assert watch.shown[-1]["text"] == (
        "rank 1 (process 101 on h) was killed at step 6; resuming from step 5 of 40 with 2 workers; "
        "2 steps are computed again"
    )
    assert watch.shown[-1]["recomputed"] == 2


def test_a_worker_that_raises_is_named_with_what_helps(tmp_path: Path, ended: list[int]) -> None:
    watch = Watch(tmp_path)
    error = "OutOfMemoryError: CUDA out of memory"
    failure = watch.post(kind="failure", step=3, rank=1, error=error, final=False)
    outcome = watch.watch(watch.beat(0, 3), watch.beat(1, 3), failure, error=lost())
    assert outcome.cause.startswith(
        f"rank 1 failed at step 3: {error}; where it happens again, lower train.micro_batch"
    )
    assert not outcome.is_final


def test_what_would_fail_again_is_final(tmp_path: Path, ended: list[int]) -> None:
    watch = Watch(tmp_path)
    failure = watch.post(kind="failure", step=3, rank=1, error="FloatingPointError: step 3: loss nan", final=True)
    outcome = watch.watch(watch.beat(1, 3), failure, error=lost())
    assert outcome == AttemptOutcome("", "FloatingPointError: step 3: loss nan", is_final=True)


def test_a_lost_node_is_named_with_its_ranks(tmp_path: Path, ended: list[int]) -> None:
    watch = Watch(tmp_path)
    outcome = watch.watch(watch.beat(0, 3), watch.beat(1, 3, node="gone", host="spot"), error=lost())
    assert outcome.cause == "node spot with rank 1 was lost"


def test_a_fault_of_the_driver_is_not_taken_for_one_of_a_worker(tmp_path: Path, ended: list[int]) -> None:
    watch = Watch(tmp_path)
    with pytest.raises(TypeError):
        watch.watch(watch.beat(0, 3), error=TypeError("a bug"))


@pytest.mark.parametrize("kind", ["silent", "idle"])
def test_a_worker_that_hangs_is_named_and_ended_once(
    tmp_path: Path, ended: list[int], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(tmp_path, hang_seconds=5.0)
    beats = [Beat(rank=r, pid=100 + r, host="h", node="n", step=9 - r, phase="step", count=1) for r in (0, 1)]
    ages = [(0.1, 51.0), (5.1, 51.0)] if kind == "silent" else [(0.1, 51.0), (0.1, 52.0)]
    signs = [(beat, *age) for beat, age in zip(beats, ages, strict=True)]
    monkeypatch.setattr(watch.board.board, "read", lambda count: ([], signs))
    outcome = watch.watch(lambda: None, lambda: None, error=lost())
    assert ended == [101]
    words = "has not answered for 5 s" if kind == "silent" else "has made no progress for 52 s"
    assert outcome.cause == f"rank 1 (process 101 on h) {words} (step 8, step) and was ended"


def test_a_signal_has_everything_saved(tmp_path: Path, ended: list[int]) -> None:
    watch = Watch(tmp_path)

    def terminate() -> None:
        watch.signals.name = "SIGTERM"

    def stopped() -> None:
        assert watch.board.board.orders.stop

    outcome = watch.watch(watch.beat(0, 7), terminate, stopped)
    assert outcome == AttemptOutcome("signal")
    assert watch.shown[-1]["text"] == "SIGTERM: saving a checkpoint after this step, then ending"


def test_where_nothing_has_begun_a_signal_ends_at_once(tmp_path: Path, ended: list[int]) -> None:
    watch = Watch(tmp_path)
    watch.signals.name = "SIGTERM"

    def never() -> None:
        raise AssertionError

    assert watch.watch(lambda: None, never) == AttemptOutcome("signal")


def test_a_node_that_is_about_to_go_has_everything_saved(
    tmp_path: Path, ended: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "DRAIN_SECONDS", 0.0)
    watch = Watch(tmp_path)
    monkeypatch.setattr(supervision, "draining_nodes", lambda: {"spot"})
    outcome = watch.watch(watch.beat(0, 7), watch.beat(1, 7, node="spot"))
    assert outcome == AttemptOutcome("drained") and watch.board.board.orders.stop
    assert watch.supervisor.interruption == "the node of rank 1 is about to be taken away"


@pytest.mark.parametrize(("workers", "free", "ending"), [([2, 4], 2.0, "grown"), ([2, 4], 0.0, ""), (2, 2.0, "")])
def test_more_room_is_used_after_a_second_look(
    tmp_path: Path, ended: list[int], monkeypatch: pytest.MonkeyPatch, workers: Any, free: float, ending: str
) -> None:
    """Of what others hold there is no room, and who asked for two workers has them."""
    monkeypatch.setattr(supervision, "GROWTH_SECONDS", 0.0)
    monkeypatch.setattr(supervision, "free_resources", lambda: {"CPU": free, "GPU": 0.0})
    monkeypatch.setattr(supervision, "healthy_resources", lambda: {"CPU": 8.0, "GPU": 0.0})
    watch = Watch(tmp_path, num_workers=workers)
    beats = [watch.beat(0, step) for step in (7, 8, 9)]
    assert watch.watch(*beats).ending == ending
    assert watch.supervisor.interruption == "there is room for 4 workers instead of 2" * bool(ending)
    assert watch.watch(*beats).ending == "", "no more came, so it is not tried again"


def test_the_cpus_of_its_own_decoding_tasks_are_room(
    tmp_path: Path, ended: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers and their four tasks hold six of twelve CPUs, which four workers with eight tasks would need."""
    monkeypatch.setattr(supervision, "GROWTH_SECONDS", 0.0)
    monkeypatch.setattr(supervision, "free_resources", lambda: {"CPU": 6.0, "GPU": 0.0})
    monkeypatch.setattr(supervision, "healthy_resources", lambda: {"CPU": 12.0, "GPU": 0.0})
    watch = Watch(tmp_path, num_workers=[2, 4])
    watch.supervisor.config = override(watch.supervisor.config, {"feed.kind": "ray", "feed.workers": 2})
    assert watch.watch(*(watch.beat(0, step) for step in (7, 8, 9))).ending == "grown"


def test_the_wait_for_a_lost_node_has_its_reason_and_ends_by_a_signal(tmp_path: Path, ended: list[int]) -> None:
    watch = Watch(tmp_path)
    outcome = watch.watch(watch.beat(0, 7), watch.beat(1, 7, node="gone"), error=lost())
    supervisor, supervisor.interruption = watch.supervisor, outcome.cause
    supervisor._waiting.seconds = 0.0
    with mock.patch.object(supervision, "free_orphans"):
        supervisor.wait()
        assert watch.shown[-1]["text"] == "node h with rank 1 was lost; waiting for 2 workers to start"
        watch.signals.name = "SIGTERM"
        with pytest.raises(Preempted, match="ended by SIGTERM while it waited for workers; the same command resumes"):
            supervisor.wait()
    assert watch.shown[-1]["kind"] == "end"


def test_patience_ends_the_run(tmp_path: Path, ended: list[int]) -> None:
    watch = Watch(tmp_path, patience=1, evaluate_every=1)
    first, second = (watch.post(kind="evaluation", step=s, steps=40, epoch=1.0, PQ=q) for s, q in ((4, 9.0), (8, 3.0)))
    outcome = watch.watch(watch.beat(0, 4), first, second)
    assert outcome.ending == "exhausted"
    assert watch.board.board.orders.answers == {4: False, 8: True} and watch.board.board.orders.keep == {4, 8}


def test_a_lost_lease_ends_the_workers(tmp_path: Path, ended: list[int]) -> None:
    watch = Watch(tmp_path)

    def overtaken() -> None:
        watch.lease.lost = "taken by another"

    with pytest.raises(Exception, match="taken by another"):
        watch.watch(watch.beat(0, 7), watch.beat(1, 7), overtaken)
    assert sorted(ended) == [100, 101]
