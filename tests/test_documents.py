"""The documents say what is: their commands parse, their make targets and files exist, nothing is left to fill in."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path

import pytest

from jobs.parsing import HelpShown, parse
from tests.commands import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CALL = re.compile(r"python -m jobs (?P<words>[^`\n#]+)")
LINK = re.compile(r"\]\((?!https?:)(?P<target>[^)#]+)\)")


def commands() -> list[str]:
    found = [
        match["words"].strip() for path in DOCUMENTS for match in CALL.finditer(path.read_text().replace("\\\n", ""))
    ]
    return sorted({words for words in found if not re.search(r"VERB|PRESET|…", words)})


@pytest.mark.parametrize("words", commands())
def test_every_command_parses(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    try:
        verb, _ = parse(shlex.split(words), io.StringIO())
    except HelpShown:
        return
    assert verb.name == words.split()[0]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_targets_links_and_figures(path: Path) -> None:
    text = path.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    assert [t for t in LINK.findall(text) if not (path.parent / t).exists()] == []
    assert not re.search(r"@[A-Z_]+@|TODO|TBD", text)
