"""Mappings and lists on disk behave like those in memory, and memory does not grow with them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pipelines.data.spill import CHUNK, Spilled, SpilledList
from tests.commands import ROOT

KEYS = st.one_of(st.integers(-3, 3), st.sampled_from(["1", "2", "1.0", "a", "A"]))


@given(st.lists(st.tuples(st.sampled_from(["set", "pop", "default"]), KEYS, st.integers())))
def test_a_mapping_on_disk_is_a_dict(steps: list[tuple[str, Any, int]]) -> None:
    expected: dict[Any, Any] = {}
    spilled: Spilled[Any] = Spilled()
    for step, key, value in steps:
        for mapping in (expected, spilled):
            if step == "set":
                mapping[key] = [value]
            elif step == "pop":
                mapping.pop(key, None)
        if step == "default":
            assert spilled.setdefault(key, value) == expected.setdefault(key, value)
    assert list(spilled.items()) == list(expected.items()) and len(spilled) == len(expected)
    assert list(spilled.values()) == list(expected.values()) and list(spilled) == list(expected)
    assert all((key in spilled) == (key in expected) for key in (*range(-3, 4), "1", "2", "b"))


def test_a_missing_key_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Spilled[int]()["a"]
    with pytest.raises(KeyError):
        del Spilled[int]()["a"]


def test_a_list_on_disk_keeps_its_order() -> None:
    spilled: SpilledList[Any] = SpilledList()
    values = ["a", (1, 2), None] * CHUNK
    for number, value in enumerate(values):
        assert len(spilled) == number and list(spilled) == values[:number]
        spilled.append(value)
    assert list(spilled) == list(spilled) == values


def test_memory_is_that_of_its_cache() -> None:
    program = (
        "import resource; from pipelines.data.spill import Spilled; s = Spilled()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for n in range(60_000): s[n] = 'x' * 1000\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    grown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(grown.stdout) < 10_000, "kilobytes, of 60 MB"
