"""Help: at once, without the libraries, and complete."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.__main__ import main
from jobs.help import field_texts
from jobs.options import PresetOptions
from jobs.verbs import VERBS
from pipelines.presets import PRESETS, SHIPPED

ROOT = Path(__file__).parents[2]


def shown(*words: str) -> str:
    """The help that a command line writes."""
    out = io.StringIO()
    assert main(words, out) == 0
    return out.getvalue()


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["train", "shapes_smoke", "--help"], ["score", "-h"]]
)
def test_help_is_quick_and_loads_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    code = (
        f"import sys, io; from jobs.__main__ import main; out = io.StringIO(); code = main({words}, out)\n"
        "heavy = [name for name in ('torch', 'ray', 'mlflow', 'numpy', 'pyarrow') if name in sys.modules]\n"
        "print(code, heavy, len(out.getvalue()) > 200)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    took = time.monotonic() - started
    print(f"{' '.join(words)}: {took:.2f} s")
    assert (answer.stdout, answer.stderr) == ("0 [] True\n", "")


def test_help_names_verbs_presets_and_settings() -> None:
    overview, preset = shown("--help"), shown("run", "shapes_smoke", "--help")
    assert all(name in overview for name in (*VERBS, *PRESETS))
    assert "--loss.semantic FLOAT = 0.5" in preset and "λ4" in preset and "--data.shapes.num_train" in preset
    assert "--augment.crop INT INT|None = 128 160" in preset and "{sgd,adamw} = adamw" in preset


@pytest.mark.parametrize("name", VERBS)
def test_help_of_a_verb_explains_every_option(name: str) -> None:
    verb, text = VERBS[name], shown(name, "--help")
    assert text.startswith(f"usage: python -m jobs {name}") and verb.summary in text
    texts = field_texts(verb.options)
    for option, field in verb.options.named().items():
        assert f"  {option}" in text and texts[field.name].endswith(".")
    assert ("settings of a preset" in text) == verb.has_preset == issubclass(verb.options, PresetOptions)


def test_the_page_of_commands_lists_every_verb_option_and_preset() -> None:
    page = (ROOT / "docs/commands.md").read_text()
    for verb in VERBS.values():
        name = " ".join([verb.name, *verb.options.usage().values()])
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert [option for option in verb.options.named() if option != "--overrides" and option not in row] == []
    assert [preset for preset in SHIPPED if f"`{preset}`" not in page] == []
