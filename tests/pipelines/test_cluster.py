"""What a training run holds of a cluster, and when it would wait for ever."""

from __future__ import annotations

import pytest

from pipelines.cluster import missing_workers, needs
from pipelines.config import FeedConfig, TrainConfig

TORCH, RAY = FeedConfig(workers=4), FeedConfig(kind="ray", workers=2)


@pytest.mark.parametrize(
    ("use_gpu", "feed", "expected"),
    [
        (False, TORCH, {"GPU": 0, "CPU": 3}),
        (True, TORCH, {"GPU": 3, "CPU": 0}),
        (False, RAY, {"GPU": 0, "CPU": 9}),
        (True, RAY, {"GPU": 3, "CPU": 6}),
    ],
)
def test_workers_and_the_tasks_that_decode_for_them(use_gpu: bool, feed: FeedConfig, expected: dict) -> None:
    assert needs(3, use_gpu, feed) == expected


@pytest.mark.parametrize(
    ("use_gpu", "feed", "there", "said"),
    [
        (False, TORCH, {"CPU": 2, "GPU": 0}, None),
        (False, TORCH, {"CPU": 1, "GPU": 0}, "train.num_workers = 2 with one CPU each, but the cluster has 1"),
        (True, RAY, {"CPU": 64, "GPU": 1}, "--train.num_workers 1 or --train.use_gpu False"),
        (False, RAY, {"CPU": 6, "GPU": 0}, None),
        (False, RAY, {"CPU": 5, "GPU": 0}, "2 workers with one CPU each + 2 × 2 decoding tasks with one CPU each = 6"),
        (True, RAY, {"CPU": 3, "GPU": 2}, "feed.workers = 2: 2 × 2 decoding tasks with one CPU each = 4 CPUs"),
        (True, RAY, {"CPU": 4, "GPU": 2}, None),
    ],
)
def test_a_run_that_would_wait_for_ever_is_named(
    use_gpu: bool, feed: FeedConfig, there: dict, said: str | None
) -> None:
    found = missing_workers(TrainConfig(num_workers=2, use_gpu=use_gpu), feed, there)
    assert (found is None) if said is None else (found is not None and said in found)
