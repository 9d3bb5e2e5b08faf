"""A group of workers as Ray Train starts it; what becomes of its errors: test_supervision.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines import presets
from pipelines.runtime.board import open_board
from pipelines.settings.overrides import override
from pipelines.training.assignment import Assignment
from pipelines.training.attempt import Attempt, found_no_room


def nothing(settings: dict[str, Any]) -> None:
    """What a worker does."""


def test_where_fewer_would_do_a_group_without_room_ends(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that was counted may be gone; Ray Train would wait for it for ever. Four workers, two CPUs."""
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "5")
    changes = {"train.num_workers": [1, 4], "train.batch_size": 4, "model.backbone.norm": "gn"}
    config = override(presets.shapes_smoke(), changes)
    with open_board() as board:
        assignment = Assignment(config=config, prepared_uri="x", run_uri=str(tmp_path / "run"), attempt="a1")
        attempt = Attempt(assignment, board, 4, nothing)
        assert attempt.has_ended(240)
    assert attempt.error is not None and found_no_room(attempt.error)
