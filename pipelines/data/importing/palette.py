"""Files that say what the values or colours of masks mean: JSON lists, CVAT's labelmap.txt, CamVid's label colours."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aunet.categories import Categories, Category, read_color, read_flag
from aunet.documents import read_json
from aunet.errors import InputError
from aunet.names import printable
from pipelines.data.importing.category_choice import CategoryChoice
from pipelines.data.importing.value_maps import ValueTable
from pipelines.store import storage

VOID_NAMES = ("void", "unlabeled", "unlabelled", "ignore", "__ignore__", "ignored")
UNANNOTATED = "background"
"""Name in VOC's and CVAT's lists of the pixels that nobody annotated."""
USUAL_VOID = 255
_LINES = (
    re.compile(r"(?P<name>[^:]+):(?P<r>\d{1,3}),(?P<g>\d{1,3}),(?P<b>\d{1,3}):.*"),
    re.compile(r"(?P<r>\d{1,3})[\s,]+(?P<g>\d{1,3})[\s,]+(?P<b>\d{1,3})[\s,]+(?P<name>\S.*)"),
    re.compile(r"(?P<name>\S.*?)[\s,]+(?P<r>\d{1,3})[\s,]+(?P<g>\d{1,3})[\s,]+(?P<b>\d{1,3})"),
    re.compile(r"(?P<value>\d{1,9})[\s,:]+(?P<name>\S.*)"),
)
"""`car:0,0,142::`, `0 0 142 car`, `car,0,0,142`, `13 car`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaletteEntry:
    """One line of a palette."""

    name: str
    value: int | None = None
    color: tuple[int, int, int] | None = None
    is_thing: bool | None = None
    """None: the file does not say."""
    is_void: bool = False


def read_palette(uri: str) -> list[PaletteEntry]:
    """The entries of a palette file, in its order.

    JSON: a list of objects, or an object with a list `categories`, with `name`, `value` (or `id`) or `color`, and
    perhaps `isthing` or `void`. Text: lines such as `car:0,0,142::`, `0 0 142 car`, `car,0,0,142` or `13 car`.

    Raises:
        InputError: no such file, or every line that cannot be read.
    """
    data = storage.read_bytes(uri)
    if data.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"[", b"{"):
        entries = [_from_json(entry, f"{uri}: entry {n}") for n, entry in enumerate(_listed(data, uri))]
    else:
        entries = _from_text(data, uri)
    if not entries:
        raise InputError(f"{uri}: an empty palette; give every category a line")
    names = [entry.name for entry in entries]
    if repeated := sorted({name for name in names if names.count(name) > 1 and name.lower() not in VOID_NAMES}):
        raise InputError(
            f"{uri}: {printable(name)} is given twice; give each line a name of its own" for name in repeated
        )
    return entries


def categories_of(entries: list[PaletteEntry], choice: CategoryChoice, source_name: str) -> Categories:
    """The categories of a palette; ids are the values of the file where all have one, else 1, 2, … in its order.

    Raises:
        InputError: neither the file nor the command line says which are things.
    """
    if (listed := choice.from_file()) is not None:
        return listed
    used = [entry for entry in entries if not entry.is_void]
    if choice.things is not None or any(entry.is_thing is None for entry in used):
        things = choice.of_labels((entry.name for entry in used), source_name).by_name
    else:
        things = {entry.name: entry for entry in used}
    values = [entry.value for entry in used]
    ids = values if None not in values and len({*values}) == len(values) else range(1, len(used) + 1)
    made = (
        Category(id=n or 0, name=entry.name, is_thing=things[entry.name].is_thing is True, color=entry.color)
        for n, entry in zip(ids, used, strict=True)
    )
    return choice.with_background(Categories(tuple(made)))


def table_of(
    entries: list[PaletteEntry], categories: Categories, source_name: str, *, is_color: bool, unannotated: bool = False
) -> ValueTable:
    """What values mean.

    Args:
        is_color: whether the masks have colours.
        unannotated: whether `background` is what nobody annotated, as VOC and CVAT mean it.

    Raises:
        InputError: an entry lacks the colour or value, or two have the same.
    """
    category_of: dict[int, int] = {}
    void, nothing = set[int](), set[int]()
    problems: list[str] = []
    seen: dict[int, str] = {}
    for entry in entries:
        value = _packed(entry.color) if is_color else entry.value
        if value is None:
            kind = "colour, but the masks have colours" if is_color else "value, but the masks have values"
            problems.append(f"{source_name}: {printable(entry.name)} has no {kind}; add it")
            continue
        if value in seen and not entry.is_void:
            problems.append(
                f"{source_name}: {printable(entry.name)} and {printable(seen[value])} look the same; change one"
            )
        seen[value] = entry.name
        category = categories.by_name.get(entry.name)
        if unannotated and entry.name == UNANNOTATED:
            nothing.add(value)
        elif entry.is_void or category is None:
            void.add(value)
        else:
            category_of[value] = category.id
    if problems:
        raise InputError(problems)
    if not is_color and USUAL_VOID not in category_of:
        void.add(USUAL_VOID)
    if 0 not in category_of.keys() | void:
        nothing.add(0)
    return ValueTable(category_of=category_of, void=frozenset(void), nothing=frozenset(nothing), is_color=is_color)


def _packed(color: tuple[int, int, int] | None) -> int | None:
    return None if color is None else color[0] + 256 * color[1] + 65536 * color[2]


def _listed(data: bytes, uri: str) -> list[Any]:
    document = read_json(data, uri)
    entries = document.get("categories") if isinstance(document, Mapping) else document
    if not isinstance(entries, list):
        raise InputError(f'{uri}: not a list; write [{{"name": "car", "color": [0, 0, 142], "isthing": 1}}, …]')
    return entries


def _from_json(entry: Any, source_name: str) -> PaletteEntry:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    if not isinstance(name, str) or not name.strip() or printable(name) != name:
        raise InputError(f"{source_name} {printable(f'{entry!r:.80}')} has no name; add it")
    value, color = entry.get("value", entry.get("id")), read_color(entry.get("color"))
    if (value is not None and (type(value) is not int or value < 0)) or (
        color is None and entry.get("color") is not None
    ):
        raise InputError(
            f"{source_name} ({name}): value is not a whole number, or color not [red, green, blue]; correct it"
        )
    is_void = read_flag(entry.get("void", 0)) is True or name.lower() in VOID_NAMES
    return PaletteEntry(name=name, value=value, color=color, is_thing=read_flag(entry.get("isthing")), is_void=is_void)


def _from_text(data: bytes, uri: str) -> list[PaletteEntry]:
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{uri}: neither JSON nor a text in UTF-8; write the palette again") from None
    entries, problems = [], []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#") or text.lower().replace(" ", "") in ("name,r,g,b", "r,g,b,name"):
            continue
        match = next((m for pattern in _LINES if (m := pattern.fullmatch(text))), None)
        entry = None if match is None else _from_match(match.groupdict())
        if entry is None or printable(entry.name) != entry.name:
            problems.append(
                f"{uri}: line {number} ({printable(text):.60}): not a name with a value or colour; correct it"
            )
        else:
            entries.append(entry)
    if problems:
        raise InputError(problems)
    return entries


def _from_match(groups: dict[str, str]) -> PaletteEntry | None:
    name = groups["name"].strip()
    color = read_color([int(groups[c]) for c in "rgb"]) if "r" in groups else None
    value = int(groups["value"]) if "value" in groups else None
    if color is None and value is None:
        return None
    return PaletteEntry(name=name, value=value, color=color, is_void=name.lower() in VOID_NAMES)
