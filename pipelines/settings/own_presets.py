"""Presets of whoever uses this: the file `preset_NAME.py` beside `presets.py` holds the preset NAME."""

from __future__ import annotations

import ast
import importlib.util
import keyword
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from aunet.errors import InputError
from aunet.names import printable
from pipelines.settings.run_config import RunConfig

FOLDER = Path(__file__).resolve().parents[1]
"""It travels with every job, as `presets.py` does."""
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
PREFIX = "preset_"


def preset_path(name: str, folder: Path = FOLDER) -> Path:
    """The file of one's own preset.

    Raises:
        InputError: no preset can be called so.
    """
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise InputError(
            f"NAME = {name!r:.60}: not the name of a preset; use up to 40 small letters, digits and '_', a letter first"
        )
    return folder / f"{PREFIX}{name}.py"


def own_presets(folder: Path = FOLDER) -> dict[str, Callable[[], RunConfig]]:
    """Name → preset of every such file. A file is run when its preset is called: a broken one stops no other."""
    names = (path.stem.removeprefix(PREFIX) for path in sorted(folder.glob(f"{PREFIX}*.py")))
    return {name: _preset(name, folder) for name in names if NAME.fullmatch(name)}


def with_own(
    shipped: Mapping[str, Callable[[], RunConfig]], folder: Path = FOLDER
) -> dict[str, Callable[[], RunConfig]]:
    """All presets. One that is shipped and one's own is neither, and says so: a later version may take a name."""
    own = own_presets(folder)
    return {**shipped, **own, **{name: _ambiguous(name, folder) for name in own.keys() & shipped}}


def _ambiguous(name: str, folder: Path) -> Callable[[], RunConfig]:
    def preset() -> RunConfig:
        path = folder / f"{PREFIX}{name}.py"
        raise InputError(f"preset {name!r}: there is one with the code and one's own, {path}; rename the latter")

    preset.__doc__ = "Both shipped and your own: rename yours."
    return preset


def _preset(name: str, folder: Path) -> Callable[[], RunConfig]:
    path = folder / f"{PREFIX}{name}.py"

    def preset() -> RunConfig:
        try:
            return _call(name, path)
        except InputError as error:
            raise InputError(f"{path}: {problem}" for problem in error.problems) from None
        except Exception as error:  # somebody else's code: whatever it raises is a fault of that file
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
            reason = f"{type(error).__name__}{line}: {printable(str(error)):.200}"
            raise InputError(f"{path}: {reason}; correct the file, or delete it") from error

    preset.__name__ = preset.__qualname__ = name
    preset.__doc__ = _summary(name, path)
    return preset


def _call(name: str, path: Path) -> RunConfig:
    spec = importlib.util.spec_from_file_location(f"pipelines.{path.stem}", path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    config = function() if callable(function) else None
    if not isinstance(config, RunConfig):
        raise InputError(f"no function {name}() that returns a RunConfig; write one")
    if config.name != name:
        raise InputError(f"name = {config.name!r}: the run is called as its preset; use {name!r}")
    return config


def _summary(name: str, path: Path) -> str:
    """The text under the preset's function, for help; the file is not run."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return f"Cannot be read: {path.name}."
    texts = [ast.get_docstring(node) for node in body if isinstance(node, ast.FunctionDef) and node.name == name]
    return next(filter(None, texts), f"Your own, {path.name}.")
