"""Records brought together by their key, whatever the number of files."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from pipelines.data.importing.buckets import BUCKET_BYTES, MAX_BUCKETS, Buckets

KEYS = st.one_of(st.integers(0, 30), st.text(max_size=3))


@settings(max_examples=30, deadline=None)
@given(records=st.lists(st.tuples(KEYS, st.integers()), max_size=60), buckets=st.sampled_from([1, 3, 17]))
def test_every_record_comes_once_with_those_of_its_key_in_order(
    records: list[tuple[int | str, int]], buckets: int
) -> None:
    made = Buckets((buckets - 1) * BUCKET_BYTES)
    assert made.number == buckets
    made.fill(records)
    groups = list(made.groups())
    assert groups == list(made.groups())
    assert dict(groups) == {
        key: [value for other, value in records if (other, type(other)) == (key, type(key))] for key, _ in records
    }


@pytest.mark.parametrize(("num_bytes", "number"), [(0, 1), (10 * BUCKET_BYTES, 11), (10**15, MAX_BUCKETS)])
def test_memory_is_that_of_one_file(num_bytes: int, number: int) -> None:
    assert Buckets(num_bytes).number == number
