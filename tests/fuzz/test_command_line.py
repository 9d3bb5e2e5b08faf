"""Any words at all end in an exit code and in lines that a terminal can be shown."""

import contextlib
import io
from typing import Any

from hypothesis import given, settings, strategies as st

from aunet.names import printable
from jobs.__main__ import main
from jobs.values import setting_types
from jobs.verbs import VERBS
from pipelines.presets import PRESETS, shapes_smoke
from pipelines.store.artifacts import VerbResult

OPTIONS = [option for verb in VERBS.values() for option in verb.options.named()]
SETTINGS = [f"--{name}" for name in setting_types(shapes_smoke())]
NUMBERS = ["0", "-1", "1e999", "nan", "inf", "9" * 5000, "0x10", "1_000", "٣", "1.0", str(2**64), "None", "true", "[1]"]
TEXTS = ["", " ", "--", "-", "=", "--=", "--x=", "-h", "a\nb", "\x1b[2J", "\udcff", "\0", "{}", '{"train.lr": NaN}']
WORDS = st.sampled_from([*VERBS, *PRESETS, *OPTIONS, *SETTINGS, *NUMBERS, *TEXTS]) | st.text(max_size=6)


def nothing(*_: Any, **__: Any) -> VerbResult:
    """In place of every verb."""
    return VerbResult()


@settings(max_examples=1500)
@given(st.sampled_from([*VERBS, "help", "nope"]), st.sampled_from([*PRESETS, "nope"]), st.lists(WORDS, max_size=6))
def test_any_words(verb: str, preset: str, words: list[str]) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(err):
        code = main([verb, preset, *words], out, function=nothing)
    assert code in (0, 2), err.getvalue()
    assert all(printable(line) == line for line in err.getvalue().split("\n"))
    (out.getvalue() + err.getvalue()).encode()
