"""Every number of every setting has its range, and every name its form: found here by looking at the types."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import replace
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest

from aunet.errors import InputError
from aunet.ranges import Range
from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.settings.run_config import ClusterConfig, RegisterConfig, RunConfig

WRONG_FLOATS = (math.nan, math.inf, -math.inf, -1e30, 1e30, 10**400)
WRONG_INTS = (-1, 2**63, 10**400)
NAMES = ("", " ", "a/b", "a:b", "../../x", "/x", "it's", "a\nb", "a\0b", "\x1b[31m", "ä", "x" * 129, ".", "..", "-x")


def scalars(kind: Any) -> Iterator[tuple[type, Range | None]]:
    """The numbers in a type, each with its range."""
    if get_origin(kind) is Annotated:
        mark = next((mark for mark in get_args(kind)[1:] if isinstance(mark, Range)), None)
        yield get_args(kind)[0], mark
    elif kind in (int, float):
        yield kind, None
    else:
        for inner in get_args(kind):
            yield from scalars(inner)


def numbers(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted name, type and value of every setting with a number in it."""
    for name, kind in get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name)
        if dataclasses.is_dataclass(value):
            yield from numbers(value, f"{prefix}{name}.")
        elif list(scalars(kind)):
            yield f"{prefix}{name}", kind, value


CONFIG = presets.shapes_smoke()
SETTINGS = {name: (kind, value) for name, kind, value in numbers(CONFIG)}


def with_number(kind: Any, value: Any, number: Any) -> Any:
    """A value of this type as plain JSON, with `number` in it."""
    inner = (
        next((option for option in get_args(kind) if option is not NoneType), kind)
        if NoneType in get_args(kind)
        else kind
    )
    if get_origin(inner) is not tuple:
        return number
    length = len(value) if value else 1 if Ellipsis in get_args(inner) else len(get_args(inner))
    return [number, *list(value or [])[1:length], *([number] * (length - max(len(value or []), 1)))]


def test_there_are_many_settings_with_numbers() -> None:
    assert len(SETTINGS) > 70


@pytest.mark.parametrize("name", SETTINGS)
def test_every_number_has_a_range(name: str) -> None:
    for kind, interval in scalars(SETTINGS[name][0]):
        assert interval is not None, f"{name}: give its {kind.__name__} a Range"
        assert interval.above is not None or interval.at_least is not None
        assert interval.below is not None or interval.at_most is not None


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_no_number_of_a_setting_is_refused(name: str) -> None:
    """NaN and infinite numbers everywhere; none is accepted."""
    kind, value = SETTINGS[name]
    is_float = any(scalar is float for scalar, _ in scalars(kind))
    for wrong in WRONG_FLOATS if is_float else WRONG_INTS:
        with pytest.raises(InputError, match=rf"^{name} = ") as refused:
            override(CONFIG, {name: with_number(kind, value, wrong)})
        assert all(len(problem) < 400 and "\n" not in problem for problem in refused.value.problems)


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_every_preset_is_within_the_ranges(preset: str) -> None:
    assert override(presets.PRESETS[preset](), {}) == presets.PRESETS[preset]()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_none_is_refused_at_the_door(name: str) -> None:
    with pytest.raises(InputError, match=r"^name = "):
        replace(CONFIG, name=name)
    for make, field in (
        (lambda: RegisterConfig(model_name=name), "model_name"),
        (lambda: RegisterConfig(alias=name), "alias"),
    ):
        with pytest.raises(InputError, match=rf"^register\.{field} = ") as refused:
            make()
        assert str(refused.value).isprintable()


@pytest.mark.parametrize("alias", ["latest", "Latest", "v1", "V12"])
def test_an_alias_that_mlflow_keeps_for_itself_is_refused(alias: str) -> None:
    with pytest.raises(InputError, match=r"register\.alias = .*MLflow keeps latest and v1"):
        RegisterConfig(alias=alias)
    assert RegisterConfig(alias="version-1").alias == "version-1" and RegisterConfig(alias="v1b").alias == "v1b"


@pytest.mark.parametrize("field", ["image", "namespace", "service_account", "secret", "schedule"])
@pytest.mark.parametrize("text", ["", " ", "a b", "x\ny: z", "\x1b[31m", "{{x}}", "x" * 300, "-"])
def test_a_name_that_kubernetes_cannot_have_is_refused(field: str, text: str) -> None:
    if field == "image" and not text:
        return  # none is named yet; whoever renders a manifest asks for one
    with pytest.raises(InputError, match=rf"^cluster\.{field} = "):
        replace(ClusterConfig(), **{field: text})


@pytest.mark.parametrize(
    ("field", "texts"),
    [
        ("labels", ("team",)),
        ("labels", ("team=a b",)),
        ("labels", ("-x=1",)),
        ("annotations", ("=x",)),
        ("node_selector", ("a/b/c=1",)),
        ("env", ("1A=x",)),
        ("pull_secrets", ("Registry",)),
    ],
)
def test_pairs_that_kubernetes_cannot_have_are_refused(field: str, texts: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=rf"^cluster\.{field} = "):
        replace(ClusterConfig(), **{field: texts})


def test_settings_of_python_are_checked_like_those_of_json() -> None:
    with pytest.raises(InputError, match=r"data\.train\.image_ids = \(-1,\): use numbers at least 0"):
        replace(CONFIG.data, train=replace(CONFIG.data.train, image_ids=(-1,)))
    assert isinstance(CONFIG, RunConfig)
