"""The categories of an instances JSON and of COCO-Stuff, in one numbering."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from aunet.categories import Categories, Category, read_color, read_flag
from aunet.data.coco_entries import entry_id, malformed, wrong_keys
from aunet.errors import InputError
from aunet.names import printable
from pipelines.data.importing.category_choice import CategoryChoice
from pipelines.data.importing.palette import read_palette
from pipelines.data.json_stream import stream_json

OTHER = (183, "other")
"""COCO-Stuff's id and name of the pixels of things."""
UNUSED_THINGS = {
    (12, "street sign"),
    (26, "hat"),
    (29, "shoe"),
    (30, "eye glasses"),
    (45, "plate"),
    (66, "mirror"),
    (68, "window"),
    (69, "desk"),
    (71, "door"),
    (83, "blender"),
    (91, "hair brush"),
}
"""Ids and names in COCO-Stuff's labels.txt of things that COCO never annotated."""
CURE = "correct it in the file"
SHOWN_CONFLICTS = 20


def source_categories(
    instances_uri: str, choice: CategoryChoice, *, stuff_uri: str | None, maps_uri: str | None, palette: str | None
) -> tuple[Categories, frozenset[int]]:
    """The categories of both lists, each name once, and all ids, with that of COCO-Stuff's `other`.

    An id and name that both lists have is a thing.

    Args:
        instances_uri: JSON of the things.
        choice: its file names the values of the maps where nothing else does.
        stuff_uri: JSON of the stuff.
        maps_uri: folder of COCO-Stuff's PNGs.
        palette: names of their values.

    Raises:
        InputError: a list cannot be read, the maps' values have no names, or an id or a name means two categories.
    """
    things = _listed(instances_uri, are_things=True)
    stuff_source, stuff = _stuff(stuff_uri, maps_uri, palette, choice)
    conflicts = sorted(n for n in things.keys() & stuff.keys() if things[n].name != stuff[n].name)
    if conflicts:
        raise InputError(
            f"{stuff_source}: category id {n} is {printable(stuff[n].name)}, but in {instances_uri} it is "
            f"{printable(things[n].name)}; renumber the categories of one of the two files"
            for n in conflicts[:SHOWN_CONFLICTS]
        )
    known_ids = frozenset(things | stuff)
    areas = {n: category for n, category in stuff.items() if n not in things and (n, category.name) != OTHER}
    return _distinct(things | areas, instances_uri), known_ids


def _listed(uri: str, *, are_things: bool) -> dict[int, Category]:
    """The categories of a JSON by id.

    Raises:
        InputError: one lacks id or name, or an id is given twice.
    """
    categories: dict[int, Category] = {}
    problems = []
    for _, listed in stream_json(uri, values=("categories",)):
        for number, entry in enumerate(listed if isinstance(listed, list) else [listed]):
            category_id = entry_id(entry, "id")
            if not isinstance(category_id, int) or wrong_keys(entry, {"name": str}):
                problems.append(f"{uri}: categories[{number}]: {malformed(['id', 'name'], entry)}; {CURE}")
            elif category_id in categories:
                problems.append(f"{uri}: categories[{number}]: id {category_id} is given before; {CURE}")
            else:
                flag = read_flag(entry.get("isthing"))
                is_thing, color = are_things if flag is None else flag, read_color(entry.get("color"))
                categories[category_id] = Category(id=category_id, name=entry["name"], is_thing=is_thing, color=color)
        break
    if problems:
        raise InputError(problems)
    if not categories:
        raise InputError(f"{uri}: no list 'categories' with entries; this is not the instances JSON of a data set")
    return categories


def _stuff(
    stuff_uri: str | None, maps_uri: str | None, palette: str | None, choice: CategoryChoice
) -> tuple[str, dict[int, Category]]:
    """The first source of COCO-Stuff's categories that is given, and they by id.

    Raises:
        InputError: maps have values that nothing names.
    """
    if stuff_uri is not None:
        return stuff_uri, _listed(stuff_uri, are_things=False)
    if palette is not None:
        named = {entry.value: entry.name for entry in read_palette(palette) if not entry.is_void}
        areas = {n: name for n, name in named.items() if n is not None and (n, name) not in UNUSED_THINGS}
        return palette, {n: Category(id=n, name=name, is_thing=False) for n, name in areas.items()}
    if maps_uri is None:
        return "", {}
    if (listed := choice.from_file()) is not None:
        return choice.file or "", {category.id: category for category in listed.stuff}
    cure = "give --stuff-json, --categories or --palette labels.txt as well"
    raise InputError(f"{maps_uri}: what do its values mean? {cure}")


def _distinct(source: Mapping[int, Category], uri: str) -> Categories:
    """The categories, each name once."""
    counts = Counter(category.name for category in source.values())
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise InputError(f"{uri}: {printable(name)} is the name of two categories; {CURE}" for name in repeated)
    return Categories(tuple(source.values()))
