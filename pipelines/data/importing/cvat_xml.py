"""CVAT's XML, image by image. Document types, in which the entities of XML bombs are declared, are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from aunet.data.coco_entries import whole_number
from aunet.errors import InputError
from pipelines.store import storage

CHUNK_BYTES = 1 << 16
MAX_TEXT = 1 << 16
"""Characters of a label's name or colour."""
MAX_SHAPES = 1 << 17
"""Shapes of one image."""
CURE = 'export "CVAT for images 1.1"'
ENCODING_CURE = "save it in UTF-8, as CVAT does"


def stream_cvat(uri: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """("label", {name, color}) and ("image", {name, subset, width, height, shapes}), in the order of the file.

    Images of a project have a subset; of others it is empty. A shape has the attributes of its element, as texts, its
    `kind`, and whether it is a `crowd`.

    Raises:
        InputError: no such file, or not such an XML.
    """
    collector = _Collector(uri)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = collector.start
    parser.EndElementHandler = collector.end
    parser.CharacterDataHandler = collector.text
    parser.StartDoctypeDeclHandler = collector.refuse
    try:
        file = storage.open_file(uri)
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{uri}: no such file; put it there or correct the path") from None
    with file:
        is_last = False
        while not is_last:
            data = file.read(CHUNK_BYTES)
            is_last = not data
            try:
                parser.Parse(data, is_last)
            except InputError:
                raise
            except expat.ExpatError as error:
                raise InputError(f"{uri}: not XML ({error}); {CURE}") from None
            except (LookupError, ValueError) as error:
                raise InputError(
                    f"{uri}: not XML in an encoding that can be read ({error!s:.120}); {ENCODING_CURE}"
                ) from None
            yield from collector.records
            collector.records.clear()


class _Collector:
    """What expat calls."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.path: list[str] = []
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.image: dict[str, Any] = {}
        self.label: dict[str, str] = {}
        self.attribute = ""
        self.characters: list[str] = []

    def refuse(self, *_: Any) -> None:
        raise InputError(f"{self.uri}: declares a document type, which CVAT never does; {CURE}")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self.path and name != "annotations":
            raise InputError(f"{self.uri}: begins with <{name:.40}> instead of <annotations>; {CURE}")
        if name == "track" and len(self.path) == 1:
            raise InputError(f'{self.uri}: "CVAT for video", which has tracks; {CURE}')
        if self.path[1:] == [] and name == "image" and self.path:
            size = {key: whole_number(attributes.get(key)) or 0 for key in ("width", "height")}
            if not attributes.get("name") or min(size.values()) <= 0:
                raise InputError(f"{self.uri}: an image without name, width or height ({attributes!r:.120}); {CURE}")
            self.image = {"name": attributes["name"], "subset": attributes.get("subset", ""), **size, "shapes": []}
        elif self.path[1:] == ["image"]:
            if len(self.image["shapes"]) >= MAX_SHAPES:
                raise InputError(f"{self.uri}: {self.image['name']:.120} has over {MAX_SHAPES} shapes; {CURE}")
            self.image["shapes"].append({**attributes, "kind": name, "crowd": False})
        elif name == "label" and self.path[1:2] == ["meta"]:
            self.label = {"name": "", "color": ""}
        self.attribute = attributes.get("name", "") if name == "attribute" else self.attribute
        self.characters = []
        self.path.append(name)

    def end(self, name: str) -> None:
        self.path.pop()
        text = "".join(self.characters).strip()
        self.characters = []
        if self.path[1:2] == ["meta"]:
            if self.path[-1] == "label" and name in self.label:
                self.label[name] = text
            elif name == "label" and self.path[-1] == "labels" and self.label.get("name"):
                self.records.append(("label", dict(self.label)))
        elif name == "attribute" and len(self.path) == 3 and self.image:
            if self.attribute in ("is_crowd", "iscrowd") and text.lower() in ("true", "1"):
                self.image["shapes"][-1]["crowd"] = True
        elif name == "image" and len(self.path) == 1:
            self.records.append(("image", self.image))
            self.image = {}

    def text(self, characters: str) -> None:
        if sum(map(len, self.characters)) + len(characters) <= MAX_TEXT:
            self.characters.append(characters)
