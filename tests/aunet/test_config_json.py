"""Plain JSON values into frozen dataclasses: every value of its declared type, or a message with its place."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from aunet.config import AUNetConfig
from aunet.config_json import from_json, to_json
from aunet.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int
    pair: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner
    kind: Literal["a", 1] = "a"
    numbers: tuple[int, ...] = ()
    optional: float | None = None
    either: int | str | None = None
    counts: dict[int, int] = field(default_factory=dict)
    free: dict[str, Any] = field(default_factory=dict)


def test_there_and_back() -> None:
    assert from_json(AUNetConfig, to_json(AUNetConfig())) == AUNetConfig()
    outer = Outer(inner=Inner(size=1), numbers=(1, 2), optional=0.5, either="x", counts={3: 4}, free={"a": [None]})
    assert from_json(Outer, {**to_json(outer), "counts": {"3": 4}}) == outer


def test_a_whole_number_is_the_same_setting_however_json_writes_it() -> None:
    """Kubeflow passes 1.0 on as 1; both must have one fingerprint, or a finished run is not found again."""
    written = json.loads('{"inner": {"size": 1, "pair": [0, 2]}, "optional": 3}')
    assert json.dumps(to_json(from_json(Outer, written))) == json.dumps(
        to_json(Outer(inner=Inner(size=1, pair=(0.0, 2.0)), optional=3.0))
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inner": None}, "config.inner = None: give an object with the fields size, pair"),
        ({"inner": {}}, "config.inner: lacks size; add it"),
        ({"inner": {"size": 1, "width": 2}}, "config.inner.width: no such field; there are size, pair"),
        ({"inner": {"size": True}}, "config.inner.size = True: give a value of type int"),
        ({"inner": {"size": 1.0}}, "config.inner.size = 1.0: give a value of type int"),
        ({"inner": {"size": 1, "pair": [1.0]}}, "config.inner.pair = [1.0]: give 2 values"),
        ({"inner": {"size": 1, "pair": None}}, "config.inner.pair = None: give a list"),
        ({"kind": True}, "config.kind = True: use one of 'a', 1"),
        ({"kind": None}, "config.kind = None: use one of 'a', 1"),
        ({"numbers": "12"}, "config.numbers = '12': give a list"),
        ({"numbers": [1, "2"]}, "config.numbers = '2': give a value of type int"),
        ({"optional": "1"}, "config.optional = '1': give a value of type float"),
        ({"either": 1.5}, "config.either = 1.5: give a value of type int or str"),
        ({"either": True}, "config.either = True: give a value of type int or str"),
        ({"counts": []}, "config.counts = []: give an object"),
        ({"counts": {"x": 1}}, "config.counts.'x': give a whole number as the key"),
        ({"counts": {"1": None}}, "config.counts.1 = None: give a value of type int"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        from_json(Outer, {"inner": {"size": 1}, **change})
    assert caught.value.problems == (message,)


def test_whole_numbers_are_floats_too() -> None:
    assert from_json(Outer, {"inner": {"size": 1}, "optional": 2}).optional == 2
