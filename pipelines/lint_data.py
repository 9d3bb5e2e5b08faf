"""Every defect of a raw data set in COCO panoptic format, before a GPU is paid."""

from __future__ import annotations

import json
from typing import Any

from aunet.errors import InputError
from pipelines import storage
from pipelines.lint.json import LenientAnnotations, read_leniently
from pipelines.lint.rules import RULES, Defect, blocking, counts
from pipelines.lint.split import DataLint, RawPlaces, lint, other_prints

_SHOWN = 3
"""Defects of each rule written on stderr; the result has all of them."""


def lint_data(
    images: str,
    panoptic_json: str,
    panoptic_dir: str,
    instances_json: str | None = None,
    against_images: str | None = None,
    against_panoptic_json: str | None = None,
    out: str | None = None,
) -> dict[str, Any]:
    """List every defect of one split; a table on stderr, all of them in the result.

    Args:
        images: folder or URI of the images.
        panoptic_json: panoptic JSON.
        panoptic_dir: folder or URI of its PNGs.
        instances_json: instances JSON of the same images.
        against_images: images of the other split; pictures that are in both are found.
        against_panoptic_json: its panoptic JSON, which names those that belong to it; left out, all pictures do.
        out: folder or URI for `lint.json` and the page `lint.html`.

    Returns:
        `images`, `defects`, `quarantined`, `errors`, `warnings`, `rules` (defects per rule), `classes`; `exit_code` 2
        where there are errors.

    Raises:
        InputError: a file or folder that is named is not there.
    """
    places = RawPlaces(
        images=images, panoptic_json=panoptic_json, panoptic_dir=panoptic_dir, instances_json=instances_json
    )
    others = None
    if against_images is not None:
        others = other_prints(against_images, against_panoptic_json)
    elif against_panoptic_json is not None:
        raise InputError(f"--against-panoptic-json {against_panoptic_json}: give --against-images too")
    found = lint(places, others)
    if against_panoptic_json is not None:
        found.defects += _other_categories(found.annotations, against_panoptic_json)
    errors = sum(d.severity == "error" for d in found.defects)
    result = {
        "images": found.annotations.num_images,
        "quarantined": found.num_quarantined,
        "errors": errors,
        "warnings": len(found.defects) - errors,
        "rules": counts(found.defects),
        "classes": found.classes,
        "defects": [d.to_json() for d in found.defects],
    }
    if out is not None:
        from pipelines.lint.page import render_lint

        result |= {"json_uri": storage.join(out, "lint.json"), "html_uri": storage.join(out, "lint.html")}
        storage.write_bytes(result["html_uri"], render_lint(found).encode())
        storage.write_bytes(result["json_uri"], (json.dumps(result, indent=1) + "\n").encode())
    _print(found)
    return {**result, "exit_code": 2 if errors else 0}


def _other_categories(own: LenientAnnotations, place: str) -> list[Defect]:
    other = read_leniently(storage.read_bytes(place), place).categories
    meanings = [{(c.id, c.name, c.is_thing) for c in known.values()} for known in (own.categories, other)]
    odd = sorted(meanings[0] ^ meanings[1])
    said = f"{place}: its categories differ from those of the linted split, first in (id, name, is_thing) = {odd[:1]}"
    return [Defect(rule="category-differs", message=said)] if odd else []


def _print(found: DataLint) -> None:
    """How often each rule is broken, and the first defects of each, on stderr."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(stderr=True)
    numbers = counts(found.defects)
    if numbers:
        table = Table("rule", "", "", "", title=found.places.panoptic_json, title_justify="left")
        for rule, number in numbers.items():
            style = "red" if RULES[rule].severity == "error" else "yellow"
            table.add_row(rule, f"[{style}]{RULES[rule].severity}[/]", str(number), escape(RULES[rule].what))
        console.print(table)
    for rule, number in numbers.items():
        some = [d for d in found.defects if d.rule == rule][:_SHOWN]
        lines = [f"  {escape(d.message)}" for d in some] + [f"  … and {number - _SHOWN} more"] * (number > _SHOWN)
        cure = f"[bold]{rule}[/]: {escape(RULES[rule].cure)}"
        console.print("\n".join([cure, *lines]), highlight=False, soft_wrap=True)
    errors = sum(d.severity == "error" for d in found.defects)
    console.print(
        f"{found.annotations.num_images} images: {errors} errors, {len(found.defects) - errors} warnings; "
        f"{found.num_quarantined} images to be left out",
        highlight=False,
    )
    if whole := blocking(found.defects):
        console.print(f"{len(whole)} errors concern the whole split: none of it can be used before they are mended")
