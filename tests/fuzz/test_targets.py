"""Every seed, and what hypothesis makes of it, ends in a value or an `InputError`."""

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.fuzz.targets import SEEDS, TARGETS, survives

FILES = [(name, path) for name in TARGETS for path in sorted((SEEDS / name).iterdir())]


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_seeds(name: str) -> None:
    assert sum(target == name for target, _ in FILES) >= 3


@pytest.mark.parametrize(("name", "path"), FILES, ids=lambda value: getattr(value, "name", value))
def test_seeds(name: str, path) -> None:
    survives(name, path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_seeds(name: str, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from([path for target, path in FILES if target == name])).read_bytes()
    start = data.draw(st.integers(0, len(seed)))
    end = data.draw(st.integers(start, min(len(seed), start + 20)))
    survives(name, seed[:start] + data.draw(st.binary(max_size=8)) + seed[end:])
