"""What a worker decides by itself; whole workers: tests/faults and tests/end_to_end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.training import worker as module
from pipelines.training.identity import plan_of
from pipelines.training.worker import Worker


@pytest.mark.parametrize(
    ("every", "keep_every", "busy", "kept"),
    [(2, 5, (), [20, 40]), (0, 2, (), [8, 16, 24, 32, 40]), (1, 5, (20,), [20, 40]), (1, 0, (), [])],
    ids=["not of one measure", "by minutes", "one is being written", "none"],
)
def test_what_is_kept_for_good_is_stored(
    monkeypatch: pytest.MonkeyPatch, every: int, keep_every: int, busy: tuple[int, ...], kept: list[int]
) -> None:
    """Ten epochs of four steps."""
    changes = {
        "train.batch_size": 4,
        "train.epochs": 10,
        "train.checkpoint_every": every,
        "train.keep_every": keep_every,
    }
    config = override(presets.shapes_smoke(), {"data.shapes.num_train": 16, "train.evaluate_every": 0, **changes})
    monkeypatch.setattr(module, "state_of", lambda state: state)
    stored: list[int] = []
    worker: Any = SimpleNamespace(
        config=config, plan=plan_of(config, 16), group=SimpleNamespace(rank=0), is_due=False, due_at=float("inf"),
        link=mock.Mock(), finite=mock.Mock(), model=mock.Mock(), update=mock.Mock(), progress=None,
        saver=SimpleNamespace(save=lambda *_: stored.append(worker.step)),
    )  # fmt: skip
    for worker.step in range(1, 41):
        worker.saver.is_busy = worker.step in busy
        Worker.save_if_due(worker, needed=False)
    assert [step for step in stored if worker.plan.ends_period(step, keep_every)] == kept
