"""No variable of the environment is read that nobody has decided about: it travels with jobs, or stays for a reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.targets.variables import STAYS, TRAVELS

ROOT = Path(__file__).parents[3]
ROOMS = ("aunet", "pipelines", "jobs", "ops/aunet_ops")
OURS = re.compile(r"(AUNET|MLFLOW|AWS|RAY|KF_PIPELINES|KUBE[A-Z]*|CUDA|TUNE)_[A-Za-z0-9_]*[A-Za-z0-9]")
ENVIRONMENT = re.compile(r"(os\.environ|.*environment|getenv)")
DECIDED = {*TRAVELS, *(name for names in STAYS.values() for name in names)}


def variables(source: str) -> Iterator[str]:
    """Names of variables in Python code: every text that has the form of one of ours, and every name that something
    called an environment is asked for."""
    tree = ast.parse(source)
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in documentation and OURS.fullmatch(text):
                yield text
            case ast.Subscript(value=asked, slice=ast.Constant(value=str(name))):
                yield from [name] * (ENVIRONMENT.fullmatch(ast.unparse(asked)) is not None)
            case ast.Call(func=ast.Attribute(value=asked, attr=attribute), args=[ast.Constant(value=str(name)), *_]):
                is_asked = attribute == "getenv" or ENVIRONMENT.fullmatch(ast.unparse(asked))
                yield from [name] * bool(is_asked)
            case ast.Compare(left=ast.Constant(value=str(name)), ops=[ast.In()], comparators=[asked]):
                yield from [name] * (ENVIRONMENT.fullmatch(ast.unparse(asked)) is not None)
            case _:
                pass


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ('os.environ["EDITOR"]', "EDITOR"),
        ('os.environ.get("EDITOR", "vi")', "EDITOR"),
        ('os.environ.setdefault("EDITOR", "vi")', "EDITOR"),
        ('os.getenv("EDITOR")', "EDITOR"),
        ('"EDITOR" in os.environ', "EDITOR"),
        ('NAME = "AUNET_NEW"', "AUNET_NEW"),
        ('{"RAY_NEW": "1"}', "RAY_NEW"),
    ],
)
def test_a_variable_is_noticed_however_it_is_read(source: str, name: str) -> None:
    assert set(variables(f"x = ({source})" if "=" not in source else source)) == {name}


def test_every_variable_travels_or_stays() -> None:
    paths = [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.name != "variables.py"]
    read = {name for path in paths for name in variables(path.read_text(encoding="utf-8"))}
    assert read - DECIDED == set(), "add each to TRAVELS or STAYS in pipelines/targets/variables.py"
    assert not set(TRAVELS) & {name for names in STAYS.values() for name in names}


def test_the_documentation_names_every_variable_that_travels() -> None:
    text = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    assert [name for name in TRAVELS if f"`{name}`" not in text] == []
