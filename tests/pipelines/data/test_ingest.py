"""The plan of a run: every image once per epoch, whatever the number of workers."""

from __future__ import annotations

from collections import Counter

import pytest

from pipelines.data.ingest import SamplePlan, _Steps


@pytest.mark.parametrize(("num_samples", "batch_size"), [(10, 2), (7, 3), (3, 8), (101, 16)])
def test_each_image_once_per_epoch(num_samples: int, batch_size: int) -> None:
    plan = SamplePlan(num_samples, batch_size, epochs=5, seed=1)
    draws = [draw for step in range(plan.num_steps) for draw in plan.batch(step)]
    whole = len(draws) // num_samples
    assert num_samples * 5 - len(draws) < batch_size
    counts = Counter(draw for draw in draws if draw.epoch < whole)
    assert set(counts.values()) == {1} and len(counts) == whole * num_samples


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_workers_share_the_same_batches(world_size: int) -> None:
    plan = SamplePlan(50, 8, epochs=2, seed=0)
    parts = [list(_Steps(plan, 3, rank, world_size)) for rank in range(world_size)]
    assert all(len(part) == plan.num_steps - 3 for part in parts)
    for step in range(3, plan.num_steps):
        together = {draw for part in parts for draw in part[step - 3]}
        assert together == set(plan.batch(step))


def test_the_order_depends_on_seed_and_epoch() -> None:
    orders = {tuple(SamplePlan(20, 20, 2, seed).batch(step)) for seed in (0, 1) for step in (0, 1)}
    assert len(orders) == 4


def test_fewer_images_than_a_batch_still_train() -> None:
    assert SamplePlan(3, 8, epochs=1, seed=0).num_steps == 1
