"""The closed forms, by hand."""

from __future__ import annotations

import math

import pytest

from pipelines.training.scaling import MACHINE_BYTES_PER_S, Saving, best_interval, scaled

FAST = {"gradient_bytes": 130_000_000, "step_s": 0.3, "images": 2, "total": 7200, "network_gbit_per_s": 10.0}


def test_one_machine_hides_its_exchange_behind_the_backward_pass() -> None:
    row = scaled(8, **FAST)
    buckets = math.ceil(130_000_000 / (25 * 2**20))
    assert row.all_reduce_s == pytest.approx(2 * 7 / 8 * 130e6 / MACHINE_BYTES_PER_S + buckets * 2 * 3 * 20e-6)
    assert row.efficiency == pytest.approx(0.3 / (0.3 + row.all_reduce_s / buckets))
    assert row.images_per_s == pytest.approx(8 * 2 * row.efficiency / 0.3)
    assert row.hours == pytest.approx(7200 / row.images_per_s / 3600)


def test_a_slow_network_is_waited_for() -> None:
    row = scaled(64, **FAST)
    assert row.all_reduce_s == pytest.approx(2 * 63 / 64 * 130e6 / 1.25e9 + 5 * 2 * 6 * 20e-6)
    waiting = max(row.all_reduce_s - 0.2, row.all_reduce_s / 5)
    assert row.efficiency == pytest.approx(0.3 / (0.3 + waiting))
    assert scaled(256, **FAST).efficiency < row.efficiency < scaled(8, **FAST).efficiency


def test_the_interval_is_the_one_with_the_best_goodput() -> None:
    saving, hours = Saving(stall_s=2.0, write_s=1.0, restart_s=60.0), 1.0
    best = best_interval(saving, hours)
    assert best.minutes == pytest.approx((math.sqrt(2 * 2 * 3600) - 2) / 60)
    assert best.lost_minutes == pytest.approx(best.minutes / 2 + 61 / 60)

    def goodput(seconds: float) -> float:
        return 1 / (1 + 2.0 / seconds) * 3600 / (3600 + seconds / 2 + 61)

    assert best.goodput == pytest.approx(goodput(60 * best.minutes))
    assert best.goodput > max(goodput(60 * best.minutes * factor) for factor in (0.7, 1.5))


def test_a_checkpoint_is_not_begun_before_the_last_is_stored() -> None:
    assert best_interval(Saving(stall_s=0.001, write_s=600.0, restart_s=0.0), 1.0).minutes == 10
