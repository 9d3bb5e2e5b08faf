"""What the site has besides docs/: pages of the root folder, linked files, and a reference of every public module.

MkDocs calls the `on_…` functions. They read sources without importing them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
ROOT_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
}
"""Pages in the root folder, and their addresses in the site."""

PACKAGES = {
    "aunet": "aunet",
    "aunet.data": "aunet/data",
    "aunet.evaluation": "aunet/evaluation",
    "aunet.model": "aunet/model",
    "aunet_ops": "ops/aunet_ops",
    "pipelines": "pipelines",
    "pipelines.settings": "pipelines/settings",
}
"""Packages with a reference page, and their folders; subpackages need entries of their own."""

LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<target>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root folder and the reference."""
    for name, uri in ROOT_PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / name)))
    for package, folder in PACKAGES.items():
        files.append(File.generated(config, f"reference/{package}.md", content=reference(package, ROOT / folder)))
    return files


def reference(package: str, folder: Path) -> str:
    """Markdown of a reference page: the package's own docstring, then each public module by name."""
    names = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    head = f"::: {package}\n    options: {{heading_level: 1, members: false}}\n"
    return head + "".join(f"\n::: {package}.{name}\n" for name in names)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links find what they mean: they are written for the repository's tree."""
    sources = {uri: name for name, uri in ROOT_PAGES.items()}
    source = PurePosixPath(sources.get(page.file.src_uri, f"docs/{page.file.src_uri}"))

    def replace(match: re.Match[str]) -> str:
        path = os.path.normpath(source.parent / match["target"])
        if not (ROOT / path).exists():
            return match[0]  # MkDocs reports it
        if (ROOT / path).is_dir():
            return match["text"].strip("[]")
        uri = ROOT_PAGES.get(path) or path.removeprefix("docs/")
        if files.get_file_from_path(uri) is None:
            uri = f"files/{path}"
            if files.get_file_from_path(uri) is None:
                files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
        target = os.path.relpath(uri, PurePosixPath(page.file.src_uri).parent)
        return f"{match['text']}({target}{match['anchor'] or ''})"

    return LINK.sub(replace, markdown)
