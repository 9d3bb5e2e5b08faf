"""One's own presets: found by their file names, and a broken file is one line and nobody else's trouble."""

from __future__ import annotations

from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines import presets
from pipelines.settings.own_presets import FOLDER, own_presets, preset_path, with_own

GOOD = '''
from dataclasses import replace
from pipelines.presets import shapes_smoke

def mine():
    """Mine alone."""
    return replace(shapes_smoke(), name="mine")
'''


def test_a_file_is_a_preset(tmp_path: Path) -> None:
    (tmp_path / "preset_mine.py").write_text(GOOD)
    (tmp_path / "preset_Not-Mine.py").write_text(GOOD)
    (tmp_path / "other.py").write_text(GOOD)
    assert list(own := own_presets(tmp_path)) == ["mine"]
    assert own["mine"].__doc__ == "Mine alone." and own["mine"].__name__ == "mine"
    assert own["mine"]() == own["mine"]() and own["mine"]().name == "mine"
    (tmp_path / "preset_mine.py").write_text(GOOD.replace("shapes_smoke", "camvid_small"))
    assert own["mine"]().model == presets.camvid_small().model, "the file is read when the preset is called"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def mine(:", r"SyntaxError, line 1: .*; correct the file, or delete it"),
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("def mine():\n    return 1", r"no function mine\(\) that returns a RunConfig; write one"),
        ("mine = 1", r"no function mine\(\) that returns a RunConfig"),
        (GOOD.replace('"mine")', '"yours")'), "name = 'yours': the run is called as its preset; use 'mine'"),
        (GOOD.replace("replace(", "replace(1, "), "TypeError: "),
        ("def mine():\n    raise RuntimeError('a\\nb\\x1b[31m')", r"RuntimeError: a\\nb\\x1b"),
        ("\0", "; correct the file, or delete it"),
    ],
)
def test_a_broken_file_is_one_line_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "preset_mine.py").write_text(text)
    (tmp_path / "preset_other.py").write_text(GOOD.replace("mine", "other"))
    own = own_presets(tmp_path)
    assert (own["mine"].__doc__ or "").endswith(".")
    with pytest.raises(InputError, match=message) as caught:
        own["mine"]()
    assert str(caught.value).startswith(f"{tmp_path}/preset_mine.py: ") and "\n" not in str(caught.value)
    assert own["other"]().name == "other"


def test_a_name_that_a_later_version_ships_is_neither(tmp_path: Path) -> None:
    (tmp_path / "preset_mine.py").write_text(GOOD)
    both = with_own({"mine": presets.camvid_small, "other": presets.camvid_small}, tmp_path)
    assert list(both) == ["mine", "other"] and both["other"]() == presets.camvid_small()
    with pytest.raises(InputError, match=r"one's own, .*preset_mine\.py; rename the latter"):
        both["mine"]()


@pytest.mark.parametrize("name", ["", "Streets", "my-streets", "../streets", "1st", "class", "a" * 41, "straße", "a\n"])
def test_a_preset_has_a_name_that_python_knows(name: str) -> None:
    with pytest.raises(InputError, match="not the name of a preset; use up to 40 small letters"):
        preset_path(name)


def test_own_presets_travel_with_the_code() -> None:
    assert FOLDER == Path(presets.__file__).parent
