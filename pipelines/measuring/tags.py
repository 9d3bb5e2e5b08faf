"""Tags of images from a file that somebody has written: JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from aunet.documents import read_json, type_of
from aunet.errors import InputError
from aunet.names import printable
from pipelines.measuring.outcome_table import Tags

KEYS = ("image_id", "id", "file_name")
"""By which an entry says which image it is of."""
FORMS = (
    "give a JSON object of image id or file name → {tag: text}, a COCO JSON whose `images` have further keys, or a "
    "CSV with a column image_id or file_name"
)


def read_tags(data: bytes, source_name: str) -> dict[str, dict[str, str]]:
    """Image id or file name → name of a tag → text.

    Args:
        data: a JSON object of image id or file name → {tag: text}; a COCO JSON, whose `images` have further keys; or a
            CSV with a column `image_id`, `id` or `file_name`, in which every other column is a tag.
        source_name: the file, for messages. Its ending says which it is.

    Raises:
        InputError: it is something else.
    """
    entries = _csv_entries(data, source_name) if source_name.endswith(".csv") else _json_entries(data, source_name)
    tags: dict[str, dict[str, str]] = {}
    for key, values in entries:
        own = {printable(str(name)): printable(str(value)) for name, value in values.items() if _is_text(value)}
        tags.setdefault(key, {}).update(own)
    if not tags:
        raise InputError(f"{source_name}: no tags in it; {FORMS}")
    return tags


def with_tags(tags: Tags, given: Mapping[str, Mapping[str, str]], source_name: str) -> Tags:
    """The images' tags and those given for them, by id, file name, or the name without its folders.

    Raises:
        InputError: none is of any of the images.
    """
    merged: Tags = {}
    for image_id, own in tags.items():
        name = own.get("file_name", "")
        keys = (name.rpartition("/")[2], name, str(image_id))
        merged[image_id] = dict(own)
        for key in keys:
            merged[image_id] |= given.get(key, {}) if key else {}
    if all(merged[image_id] == own for image_id, own in tags.items()):
        raise InputError(
            f"--tags {source_name}: of none of the images, such as {next(iter(tags), '')}; use their ids or file names"
        )
    return merged


def _json_entries(data: bytes, source_name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    document = read_json(data, source_name)
    if not isinstance(document, dict):
        raise InputError(f"{source_name}: holds {type_of(document)}; {FORMS}")
    images = document.get("images")
    if isinstance(images, list):
        for entry in images:
            if isinstance(entry, dict):
                others = {name: value for name, value in entry.items() if name not in (*KEYS, "height", "width")}
                yield from ((str(entry[key]), others) for key in KEYS if _is_text(entry.get(key)))
        return
    for key, values in document.items():
        if not isinstance(values, dict):
            raise InputError(f"{source_name}: {key!r:.80} holds {type_of(values)}, not {{tag: text}}; {FORMS}")
        yield key, values


def _csv_entries(data: bytes, source_name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig")))
        keys = [key for key in KEYS if key in (rows.fieldnames or ())]
        if not keys:
            raise InputError(f"{source_name}: no column {' or '.join(KEYS)}; {FORMS}")
        for row in rows:
            others = {name: value for name, value in row.items() if name not in KEYS and name is not None}
            yield from ((str(row[key]), others) for key in keys if row[key])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{source_name}: not a CSV in UTF-8 ({error}); {FORMS}") from None


def _is_text(value: object) -> bool:
    return isinstance(value, str | int | float | bool) and value != ""
