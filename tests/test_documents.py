"""The documents say what is: commands parse, links, make targets and files exist, and nothing is left to fill in."""

from __future__ import annotations

import ast
import io
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.parsing import HelpShown, parse
from tests.commands import ROOT

WRITTEN = "my_streets"
"""The preset that `new-preset` writes on docs/your_data.md; here it stands for one that exists."""
ROOT_PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [*ROOT_PAGES, *PAGES, ROOT / ".github" / "pull_request_template.md"]
CALL = re.compile(r"(?:python -m jobs|\.venv/bin/aunet) (?P<words>[^`\n#]+)")
LINK = re.compile(r"\]\((?!https?:)(?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
UNPICKLERS = {"aunet/torch_files.py", "pipelines/data/preparation.py", "pipelines/data/spill.py"}
"""Modules that know pickle: for an exception's type, for what Ray's tasks send each other, and for temporary files that
no other process can open."""

LOADERS = ("torch.load", "torch.export.load", "load_pt2", "pickle.load")
"""Functions that unpickle files; what Ray's tasks send each other are no files."""


def commands() -> list[str]:
    calls = [
        match["words"].strip() for path in DOCUMENTS for match in CALL.finditer(path.read_text().replace("\\\n", ""))
    ]
    return sorted({words for words in calls if not re.search(r"VERB|PRESET|…", words)})


def anchors(page: Path) -> set[str]:
    """What a link may name in a page: its headings, as GitHub and MkDocs write them in an address."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Relative links of a page whose file or heading does not exist."""
    broken = []
    for match in LINK.finditer(page.read_text()):
        file = page.parent / match["target"] if match["target"] else page
        if not file.exists() or (match["anchor"] and match["anchor"] not in anchors(file)):
            broken.append(match[0])
    return broken


def nav_pages(entries: list[Any]) -> Iterator[str]:
    """Pages of a navigation of mkdocs.yml, sections included."""
    for entry in entries:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from nav_pages(value) if isinstance(value, list) else [value]


def site() -> tuple[list[str], dict[str, str], dict[str, str]]:
    """The site's navigation, and the pages that docs/hooks.py adds: those of the root folder and the packages."""
    nav = list(nav_pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "docs" / "hooks.py").read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Dict)
    }
    return nav, constants["ROOT_PAGES"], constants["PACKAGES"]


@pytest.mark.parametrize("words", commands())
def test_every_command_parses(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    given = shlex.split(words)
    if given[0] != "new-preset":
        given = ["camvid_small" if word == WRITTEN else word for word in given]
    try:
        verb, _ = parse(given, io.StringIO())
    except HelpShown:
        return
    assert verb.name == words.split()[0]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_targets_links_and_figures(path: Path) -> None:
    text = path.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    assert broken_links(path) == []
    assert not re.search(r"@[A-Z_]+@|TODO|TBD", text)


def test_a_planted_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# The page\n[a](#the-page) [b](page.md#the-page) [c](#elsewhere) [d](gone.md) [e](https://x.org/#y)"
    )
    assert broken_links(page) == ["](#elsewhere)", "](gone.md)"]


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    nav, root_pages, packages = site()
    own = {str(path.relative_to(ROOT / "docs")) for path in PAGES}
    assert set(root_pages) == {path.name for path in ROOT_PAGES}
    pages = [*own, *root_pages.values(), *(f"reference/{package}.md" for package in packages)]
    assert sorted(nav) == sorted(pages)


def test_every_package_of_the_library_has_a_reference_page() -> None:
    _, _, packages = site()
    library = {path.parent for path in (ROOT / "aunet").rglob("__init__.py")}
    assert library | {ROOT / "ops" / "aunet_ops"} <= {ROOT / folder for folder in packages.values()}
    assert all((ROOT / folder / "__init__.py").exists() for folder in packages.values())


def test_the_paper_has_one_address() -> None:
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]["url"]
    for file in ("pyproject.toml", "ops/pyproject.toml"):
        assert tomllib.loads((ROOT / file).read_text())["project"]["urls"]["Paper"] == paper


def test_nothing_is_unpickled_but_what_security_names() -> None:
    loads, picklers = [], set()
    for folder in ("aunet", "jobs", "ops/aunet_ops", "pipelines"):
        for path in (ROOT / folder).rglob("*.py"):
            name, tree = str(path.relative_to(ROOT)), ast.parse(path.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.Import | ast.ImportFrom) and "pickle" in ast.unparse(node):
                    picklers.add(name)
                if isinstance(node, ast.Call) and ast.unparse(node.func) in LOADERS:
                    loads.append((name, ast.unparse(node)))
    assert picklers <= UNPICKLERS
    unsafe = [name for name, call in loads if "weights_only=True" not in call]
    assert len(loads) > len(unsafe) and unsafe == ["aunet/torch_files.py"]


def test_what_is_said_of_security_is_held_by_tests() -> None:
    """Every test that docs/security.md names exists."""
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "security.md").read_text()))
    existing = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(named) > 30 and named - existing == set()
