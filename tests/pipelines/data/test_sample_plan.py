"""The plan of a run: every image once per epoch, whatever the number of workers and the shapes of the images."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, strategies as st

from pipelines.data.sample_plan import Draw, SamplePlan, aspect_groups, fixed_choice, spread


def draws(plan: SamplePlan) -> list[Draw]:
    return [draw for step in range(plan.num_steps) for draw in plan.batch(step)]


def some_groups(num_samples: int, share: float = 0.3) -> bytes:
    return bytes(np.random.default_rng(0).random(num_samples) < share)


def groups_of(plan: SamplePlan, step: int) -> set[int]:
    return {plan.groups[draw.index] for draw in plan.batch(step)}


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("num_samples", "batch_size"), [(10, 2), (7, 3), (3, 8), (101, 16)])
def test_each_image_once_per_epoch(num_samples: int, batch_size: int, grouped: bool) -> None:
    plan = SamplePlan(num_samples, batch_size, 5, 1, some_groups(num_samples) if grouped else b"")
    order = draws(plan)
    num_whole = len(order) // num_samples
    assert num_samples * 5 - len(order) < batch_size
    counts = Counter(draw for draw in order if draw.epoch < num_whole)
    assert set(counts.values()) == {1} and len(counts) == num_whole * num_samples
    assert [draw.epoch for draw in order] == sorted(draw.epoch for draw in order)


@given(
    groups=st.lists(st.integers(0, 2), min_size=1, max_size=60), batch_size=st.integers(1, 9), epochs=st.integers(1, 4)
)
def test_grouping_loses_and_doubles_nothing(groups: list[int], batch_size: int, epochs: int) -> None:
    plan = SamplePlan(len(groups), batch_size, epochs, 0, bytes(groups))
    order = draws(plan)
    assert len(set(order)) == len(order)
    first_epoch = {draw for draw in order if draw.epoch == 0}
    assert len(first_epoch) == min(len(groups), len(order)) and first_epoch <= {Draw(0, i) for i in range(len(groups))}


def test_batches_hold_one_aspect() -> None:
    """Two batches an epoch may be mixed: the one that reaches over its end, and what is left over at the end."""
    plan = SamplePlan(500, 16, 8, 0, some_groups(500))
    mixed = sum(len(groups_of(plan, step)) > 1 for step in range(plan.num_steps))
    assert plan.num_steps == 250 and mixed <= 16
    plain = SamplePlan(500, 16, 8, 0)
    assert sum(len({plan.groups[d.index] for d in plain.batch(s)}) > 1 for s in range(plain.num_steps)) > 200


def test_a_small_epoch_by_hand() -> None:
    """Seven images in batches of two: wide ones and high ones fill up in turn, the odd ones come last."""
    plan = SamplePlan(7, 2, 2, 3)
    order = [draw.index for draw in draws(plan)][:7]
    groups = bytearray(7)
    for index in order[1::2]:
        groups[index] = 1  # the permutation alternates: 0 1 0 1 0 1 0
    grouped = [draw.index for draw in draws(SamplePlan(7, 2, 2, 3, bytes(groups)))][:7]
    a, b, c, d, e, f, g = order
    assert grouped == [a, c, b, d, e, g, f]


@pytest.mark.parametrize("groups", [bytes(50), bytes([1]) * 50, bytes(n < 7 for n in range(50))])
def test_where_nothing_is_to_be_grouped_the_order_is_the_permutation(groups: bytes) -> None:
    """One group, or none with enough images for a batch."""
    batch_size = 44 if len(set(groups)) > 1 else 8
    plain, grouped = SamplePlan(50, batch_size, 3, 0), SamplePlan(50, batch_size, 3, 0, groups)
    assert draws(plain) == draws(grouped)


def test_the_order_is_this_one() -> None:
    """Runs that were stopped go on with it: it must never change."""
    plan = SamplePlan(10, 4, 2, 0, bytes([0, 1, 1, 0, 1, 1, 1, 1, 0, 0]))
    assert [d.index for d in draws(plan)] == [4, 6, 2, 7, 3, 9, 0, 8, 5, 1, 9, 1, 7, 6, 4, 2, 3, 8, 0, 5]


def test_the_order_depends_on_seed_and_epoch() -> None:
    orders = {tuple(SamplePlan(20, 20, 2, seed).batch(step)) for seed in (0, 1) for step in (0, 1)}
    assert len(orders) == 4


def test_fewer_images_than_a_batch_still_train() -> None:
    assert SamplePlan(3, 8, epochs=1, seed=0).num_steps == 1


def test_groups_are_high_and_wide() -> None:
    assert aspect_groups([(480, 640), (640, 480), (500, 500)]) == bytes([0, 1, 0])


def test_a_fixed_choice_is_spread_and_always_the_same() -> None:
    assert fixed_choice(100, 5) == fixed_choice(100, 5) and len(set(fixed_choice(100, 5))) == 5
    assert fixed_choice(4, 0) == fixed_choice(4, 9) == [0, 1, 2, 3]


def test_pictures_are_spread_evenly() -> None:
    assert spread(range(101), 4) == [0, 33, 67, 100]
    assert spread([5, 8], 4) == [5, 8]
    assert spread(range(1), 12) == [0]
    assert spread([], 4) == []


def windowed(window: int, seed: int = 0) -> SamplePlan:
    """1,000 samples in shards of 10 to 29."""
    lengths = np.random.default_rng(1).integers(10, 30, 100).cumsum()
    ends = np.append(lengths[lengths < 1000], 1000)
    return SamplePlan(1000, 8, 2, seed, b"", window, ends.astype(np.int64).tobytes())


def test_windows_of_shards_lose_and_double_nothing_and_few_are_open_at_once() -> None:
    plan = windowed(200)
    ends = np.frombuffer(plan.shard_ends, np.int64)
    order = [draw.index for draw in draws(plan)]
    assert sorted(order[:1000]) == sorted(order[1000:]) == list(range(1000)) and order[:1000] != order[1000:]
    shard_of = np.searchsorted(ends, order[:1000], side="right")
    uses = [np.flatnonzero(shard_of == shard) for shard in range(len(ends))]
    assert max(use.max() - use.min() for use in uses) <= 200 + 29, "a shard is used within its window"
    apart = np.abs(np.diff(order[:1000]))
    assert np.mean(apart > 30) > 0.8, "neighbours come from different shards"
    assert order == [draw.index for draw in draws(windowed(200))]
    assert order != [draw.index for draw in draws(windowed(200, seed=1))]


def test_a_split_within_one_window_is_shuffled_as_ever() -> None:
    expected = [draw.index for draw in draws(SamplePlan(1000, 8, 2, 0))]
    for window in (0, 1000, 2**13):
        assert [draw.index for draw in draws(windowed(window))] == expected
