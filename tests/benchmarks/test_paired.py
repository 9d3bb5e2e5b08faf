"""Paired differences: what rows of one seed share is taken out."""

from __future__ import annotations

import pytest

from benchmarks.paired import difference, differences, interval, summary

LINES = [
    {"row": row, "seed": seed, "PQ_st": level + 10 * seed, "mIoU": level}
    for row, level in (("e2e", 50.0), ("gain", 51.0), ("aunet", 52.0))
    for seed in range(3)
]


def test_seeds_cancel() -> None:
    assert differences(LINES, "aunet", "e2e", "PQ_st") == [2.0, 2.0, 2.0]
    assert differences(LINES[:-1], "aunet", "gain", "PQ_st") == [1.0, 1.0], "only of seeds that both have"
    assert differences(LINES, "aunet", "sep", "PQ_st") == []


def test_the_interval_is_students() -> None:
    one = difference([1.0, 2.0, 3.0])
    assert one == {"n": 3, "mean": 2.0, "sd": 1.0, "half": pytest.approx(4.3027 / 3**0.5, abs=1e-3)}
    assert interval([1.0, 2.0, 3.0]) == "+2.00 ± 2.48"
    assert difference([1.0]) == {"n": 1, "mean": 1.0} and interval([1.0]) == "–"


def test_the_table_has_a_row_for_each_and_nothing_against_itself() -> None:
    table = summary(LINES, ("e2e", "gain", "aunet", "sep"), ("PQ_st",), ("PQ_st",)).splitlines()
    assert table[0] == "| row | runs | PQ_st | PQ_st − e2e | PQ_st − gain |"
    assert table[2] == "| e2e | 3 | 60.00 |  | -1.00 ± 0.00 |"
    assert table[4] == "| aunet | 3 | 62.00 | +2.00 ± 0.00 | +1.00 ± 0.00 |" and len(table) == 5
