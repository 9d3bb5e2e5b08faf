"""`lint-data`: every defect of a raw data set in COCO panoptic format, before a GPU is paid for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aunet.categories import difference
from aunet.data.coco_json import PanopticAnnotations, read_panoptic_json
from aunet.data.defects import RULES, Defect, blocking, counts, errors_of
from aunet.errors import InputError
from aunet.names import printable
from pipelines.lint.page import render_lint
from pipelines.lint.split import SplitUris, lint_split, other_prints
from pipelines.store import storage
from pipelines.store.artifacts import VerbResult
from pipelines.store.staging import staged

DOCUMENT, PAGE = "lint.json", "lint.html"
SHOWN_DEFECTS = 3
"""Defects of each rule written on stderr; the result has all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LintResult(VerbResult):
    """What is wrong with one split."""

    images: int
    """Entries of the panoptic JSON."""
    quarantined: int
    """Images that have an error, which a strict reader leaves out."""
    classes: tuple[dict[str, Any], ...]
    """Per category: `id name isthing segments crowds pixels images`."""
    defects: tuple[Defect, ...]
    json_uri: str | None = None
    """Where the result was written; None: it was not."""
    html_uri: str | None = None
    """Where the page was written; None: it was not."""

    @property
    def errors(self) -> int:
        """Defects that cost an image or the whole split."""
        return len(errors_of(self.defects))

    @property
    def exit_code(self) -> int:
        """2 where there are errors."""
        return 2 if self.errors else 0

    def document(self) -> dict[str, Any]:
        """What `lint.json` holds."""
        document = {
            "images": self.images,
            "quarantined": self.quarantined,
            "errors": self.errors,
            "warnings": len(self.defects) - self.errors,
            "rules": counts(self.defects),
            "classes": list(self.classes),
            "defects": [defect.to_json() for defect in self.defects],
        }
        uris = {"json_uri": self.json_uri, "html_uri": self.html_uri}
        return document | {name: uri for name, uri in uris.items() if uri is not None}

    def to_json(self) -> dict[str, Any]:
        """The document and the exit code."""
        return {**self.document(), "exit_code": self.exit_code}


def lint_data(
    images: str,
    panoptic_json: str,
    panoptic_dir: str,
    instances_json: str | None = None,
    against_images: str | None = None,
    against_panoptic_json: str | None = None,
    out: str | None = None,
) -> LintResult:
    """List every defect of one split: a table on stderr, all of them in the result.

    Args:
        images: folder or URI of the images.
        panoptic_json: panoptic JSON.
        panoptic_dir: folder or URI of its PNGs.
        instances_json: instances JSON of the same images.
        against_images: images of the other split; pictures that are in both are reported.
        against_panoptic_json: its panoptic JSON, which names those that belong to it; without it, all pictures do.
        out: folder or URI for `lint.json` and the page `lint.html`.

    Raises:
        InputError: a file or folder does not exist.
    """
    uris = SplitUris(
        images=images, panoptic_json=panoptic_json, panoptic_dir=panoptic_dir, instances_json=instances_json
    )
    others = None
    if against_images is not None:
        others = other_prints(against_images, against_panoptic_json)
    elif against_panoptic_json is not None:
        raise InputError(f"--against-panoptic-json {against_panoptic_json}: give --against-images too")
    lint = lint_split(uris, others)
    if against_panoptic_json is not None:
        lint.defects += _category_differences(lint.annotations, against_panoptic_json)
    result = LintResult(
        images=lint.annotations.num_images,
        quarantined=lint.num_quarantined,
        classes=tuple(lint.classes),
        defects=tuple(lint.defects),
        json_uri=None if out is None else storage.join(out, DOCUMENT),
        html_uri=None if out is None else storage.join(out, PAGE),
    )
    if out is not None:
        with staged(out, DOCUMENT) as target:
            storage.write_bytes(storage.join(target, PAGE), render_lint(lint).encode())
            document = json.dumps(result.document(), indent=1) + "\n"
            storage.write_bytes(storage.join(target, DOCUMENT), document.encode())
    _print(result, panoptic_json)
    return result


def _category_differences(own: PanopticAnnotations, other_uri: str) -> list[Defect]:
    other = read_panoptic_json(storage.read_bytes(other_uri), other_uri, strict=False)
    spot = difference(own.categories_by_id.values(), other.categories_by_id.values())
    message = f"{other_uri}: its categories differ from those of the linted split, {spot}"
    return [Defect(rule="category-differs", message=message)] if spot else []


def _plain(text: str) -> str:
    """What a data set calls something, so that neither rich nor a terminal obeys it."""
    return escape(printable(text))


def _print(result: LintResult, title: str) -> None:
    """How often each rule is broken, and the first defects of each, on stderr."""
    console = Console(stderr=True)
    numbers = counts(result.defects)
    if numbers:
        table = Table("rule", "", "", "", title=_plain(title), title_justify="left")
        for name, number in numbers.items():
            rule = RULES[name]
            style = "red" if rule.severity == "error" else "yellow"
            table.add_row(name, f"[{style}]{rule.severity}[/]", str(number), _plain(rule.what))
        console.print(table)
    for name, number in numbers.items():
        lines = [f"[bold]{name}[/]: {_plain(RULES[name].cure)}"]
        first = [defect for defect in result.defects if defect.rule == name][:SHOWN_DEFECTS]
        lines += [f"  {_plain(defect.message)}" for defect in first]
        if number > SHOWN_DEFECTS:
            lines.append(f"  … and {number - SHOWN_DEFECTS} more")
        console.print("\n".join(lines), highlight=False, soft_wrap=True)
    console.print(
        f"{result.images} images: {result.errors} errors, {len(result.defects) - result.errors} warnings; "
        f"{result.quarantined} images to be left out",
        highlight=False,
    )
    if errors := blocking(result.defects):
        console.print(f"{len(errors)} errors concern the whole split: none of it can be used before they are fixed")
