"""From words to options: what no option of any verb may be."""

from __future__ import annotations

import io
from typing import get_type_hints

import pytest

from aunet.errors import InputError
from jobs.options import LineageOptions
from jobs.parsing import parse
from jobs.values import type_name
from jobs.verbs import VERBS
from pipelines.presets import PRESETS

TEXTS = [
    (verb, option)
    for verb in VERBS.values()
    for option, field in verb.options.named().items()
    if "TEXT" in type_name(get_type_hints(verb.options)[field.name])
]
"""Every option of every verb whose value is a text."""


def operands(name: str) -> list[str]:
    values = {"verb": "train", "preset": "shapes_smoke", "uri": "store", "format": "coco"}
    return [values.get(operand, "x") for operand in VERBS[name].options.operands()]


@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize(("verb", "option"), TEXTS, ids=lambda value: getattr(value, "name", value))
def test_an_empty_text_is_a_variable_that_is_not_set(verb, option: str, empty: str) -> None:
    """`--out "$OUT"` with OUT unset would write to the root of the file system."""
    for words in ([option, empty], [f"{option}={empty}"]):
        with pytest.raises(InputError, match=rf"{option} is empty; is a variable unset\?"):
            parse([verb.name, *operands(verb.name), *words], io.StringIO())


def test_an_empty_operand_is_too() -> None:
    with pytest.raises(InputError, match=r"^URI is empty; is a variable unset\?"):
        parse(["verify", ""], io.StringIO())
    with pytest.raises(InputError, match="unknown preset"):
        parse(["train", ""], io.StringIO())


def test_an_operand_may_be_optional() -> None:
    assert (LineageOptions.operands(), LineageOptions.needed(), LineageOptions.usage()) == (
        ["model"],
        [],
        {"model": "[MODEL]"},
    )
    _, without = parse(["lineage", "--image", "0" * 64], io.StringIO())
    _, with_model = parse(["lineage", "models:/aunet@champion"], io.StringIO())
    assert (without.model, with_model.model) == (None, "models:/aunet@champion")


def test_a_setting_may_be_an_empty_text() -> None:
    _, options = parse(["train", next(iter(PRESETS)), "--version", ""], io.StringIO())
    assert options.config.version == ""
