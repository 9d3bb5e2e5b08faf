"""The rules of the house that a search can check: each figure is printed."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [path for folder in ("aunet", "ops/aunet_ops", "pipelines", "jobs") for path in (ROOT / folder).rglob("*.py")]
MAX_LAZY_IMPORTS = 40
MAX_IGNORES_PER_1000_LINES = 3.0
CATCH_ALLS = {"place", "found", "said", "told", "part", "there", "whole"}
"""Names that say nothing of what they hold."""
LAYOUT = (
    "events.jsonl",
    "report.json",
    "report.html",
    "run.json",
    "tuned.json",
    "study.json",
    "overrides.json",
    "frozen.json",
    "mlartifacts",
    "mlflow.db",
    "receipts",
)
"""Names of files and folders in the store; those that are keys of documents too are left out."""


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def line_of(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def lazy_imports(path: Path) -> Iterator[str]:
    """Imports inside functions."""
    lines = {
        node.lineno
        for function in ast.walk(tree(path))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    yield from (f"{path.relative_to(ROOT)}:{line}" for line in sorted(lines))


def bound_names(path: Path) -> Iterator[tuple[str, str]]:
    """Line and name of every variable, argument and attribute that a file binds."""
    for node in ast.walk(tree(path)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield line_of(path, node), name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield line_of(path, node), name


def strings(path: Path) -> Iterator[tuple[str, str]]:
    """Line and text of every string."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield line_of(path, node), node.value


def clock_readings(path: Path) -> Iterator[str]:
    """Assertions that compare a difference of clock readings with a number: slow machines fail them."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Assert):
            for part in ast.walk(node.test):
                match part:
                    case ast.BinOp(op=ast.Sub(), left=ast.Call(func=ast.Attribute(attr=name))):
                        if name in ("monotonic", "perf_counter", "process_time", "time"):
                            yield line_of(path, node)


def test_timing_decides_no_test() -> None:
    """Deadlines of loops that wait for something may stand: they are long."""
    assert [line for path in (ROOT / "tests").rglob("test_*.py") for line in clock_readings(path)] == []


def test_imports_stand_at_the_top(capsys: pytest.CaptureFixture[str]) -> None:
    lazy = [line for path in SOURCES for line in lazy_imports(path)]
    with capsys.disabled():
        print(f"\nimports inside functions: {len(lazy)} (at most {MAX_LAZY_IMPORTS})")
    assert len(lazy) <= MAX_LAZY_IMPORTS, "\n".join(lazy)


def test_the_science_is_typed_without_exceptions(capsys: pytest.CaptureFixture[str]) -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "aunet").rglob("*.py")]
    rate = 1000 * sum(text.count("# type: ignore") for text in texts) / sum(text.count("\n") for text in texts)
    with capsys.disabled():
        print(f"\ntype ignores in aunet: {rate:.1f} per 1000 lines (at most {MAX_IGNORES_PER_1000_LINES})")
    assert rate <= MAX_IGNORES_PER_1000_LINES


def test_the_formatter_has_the_last_word() -> None:
    assert [str(path) for path in SOURCES if "# fmt: skip" in path.read_text(encoding="utf-8")] == []


def test_names_say_what_they_hold() -> None:
    assert [f"{line}: {name}" for path in SOURCES for line, name in bound_names(path) if name in CATCH_ALLS] == []


def test_no_imports_go_in_a_circle() -> None:
    """Between modules of pipelines, imports inside functions counted too."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in SOURCES
        if path.is_relative_to(ROOT / "pipelines") and path.name != "__init__.py"
    }
    imported = {
        name: {
            target
            for node in ast.walk(tree(path))
            if isinstance(node, ast.ImportFrom) and node.module
            for target in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
            if target in modules
        }
        for name, path in modules.items()
    }
    while leaves := {name for name, targets in imported.items() if not targets & imported.keys()}:
        imported = {name: targets for name, targets in imported.items() if name not in leaves}
    assert imported == {}, "these import each other, or what does"


def test_a_class_name_means_one_thing() -> None:
    classes = Counter(
        node.name
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name: count for name, count in classes.items() if count > 1} == {}


def test_only_the_store_knows_its_layout_and_schemes() -> None:
    outside = [path for path in (ROOT / "pipelines").rglob("*.py") if not path.is_relative_to(ROOT / "pipelines/store")]
    literals = [f"{line}: {text!r}" for path in outside for line, text in strings(path) if text in LAYOUT]
    schemes = [f"{line}: {text!r}" for path in outside for line, text in strings(path) if text in ("://", "s3://")]
    assert literals == []
    assert schemes == []
