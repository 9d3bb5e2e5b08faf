"""Values that nobody should send: for JSON fields, names, paths, URIs, and the bytes of files."""

from __future__ import annotations

import copy
import json
import random
import zlib
from collections.abc import Iterator
from typing import Any

HUGE = 2**63
FIELDS: dict[str, Any] = {
    "null": None,
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "text": "x",
    "empty text": "",
    "list": [],
    "object": {},
    "minus one": -1,
    "64 bits": HUGE,
    "half": 0.5,
    "outside": "../../../outside/outside.png",
    "absolute": "/etc/hostname",
    "escape": "\x1b[2J[/red]",
    "NUL": "a\0b",
    "digits as text": "2\n",
}
"""What takes the place of a field's value."""
RAW: dict[str, str] = {
    "surrogate": '"\\ud800"',
    "overflow": "1e999",
    "5,000 digits": "9" * 5000,
    "deep": "[" * 100_000 + "]" * 100_000,
}
"""The same, in JSON that `json.dumps` does not write."""
NAMES = {
    "up": "../x",
    "far up": "../../../outside/victim",
    "absolute": "/etc",
    "inner up": "a/../../x",
    "dot": ".",
    "dots": "..",
    "empty": "",
    "space": " ",
    "newline": "a\nb",
    "NUL": "a\0b",
    "escape": "a\x1b[31mb",
    "surrogate": "a\udcffb",
    "long": "x" * 300,
    "option": "-rf",
    "slash": "a/b",
    "quote": "a'b",
    "glob": "*",
    "colon": "a:b",
    "backslash": "..\\x",
    "override": "a\u202eb",
}
PLACEHOLDER = "@@hostile@@"


def damaged_documents(document: Any) -> Iterator[tuple[str, str]]:
    """Each field of a document in turn replaced by each hostile value, or left out: a name, and the JSON."""
    for path in paths(document):
        name = ".".join(map(str, path)) or "document"
        for value_name, value in FIELDS.items():
            if (damaged := json.dumps(replaced(document, path, value))) != json.dumps(document):
                yield f"{name} is {value_name}", damaged
        for value_name, raw in RAW.items():
            yield (
                f"{name} is {value_name}",
                json.dumps(replaced(document, path, PLACEHOLDER)).replace(f'"{PLACEHOLDER}"', raw),
            )
        if path:
            yield f"{name} is missing", json.dumps(removed(document, path))


def paths(document: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value: of lists only the first element."""
    yield prefix
    inner = (
        document.items()
        if isinstance(document, dict)
        else list(enumerate(document))[:1]
        if isinstance(document, list)
        else ()
    )
    for key, value in inner:
        yield from paths(value, (*prefix, key))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of `document` with another value at `path`."""
    if not path:
        return value
    changed = copy.deepcopy(document)
    node = changed
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return changed


def removed(document: Any, path: tuple[Any, ...]) -> Any:
    """A copy of `document` without what is at `path`."""
    changed = copy.deepcopy(document)
    node = changed
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    return changed


def damaged_bytes(data: bytes, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Truncations, flipped bits, doubled and zeroed spans, and foreign content."""
    generator = random.Random(seed)
    yield "empty", b""
    yield "a web page", b"<!DOCTYPE html><html><body>404</body></html>"
    yield "a program", b"\x7fELF" + bytes(60)
    yield "zeros", bytes(len(data))
    yield "doubled", data + data
    for number in range(count):
        position, changed = generator.randrange(len(data)), bytearray(data)
        match number % 4:
            case 0:
                yield f"cut at {position}", data[:position]
            case 1:
                changed[position] ^= 1 << generator.randrange(8)
                yield f"flipped at {position}", bytes(changed)
            case 2:
                changed[position : position + 16] = bytes(16)
                yield f"zeroed at {position}", bytes(changed)
            case _:
                changed[position:position] = generator.randbytes(16)
                yield f"grown at {position}", bytes(changed)


def png_of_size(width: int, height: int) -> bytes:
    """A small file that decodes into a huge grey picture."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    compressor = zlib.compressobj(9)
    row = bytes(width + 1)
    pixels = b"".join(compressor.compress(row) for _ in range(height)) + compressor.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
