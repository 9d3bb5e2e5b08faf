"""JSON files of any size, element by element: memory is that of the largest element, not of the file."""

from __future__ import annotations

import codecs
import json
from collections.abc import Collection, Iterator
from typing import Any

from aunet.documents import decoder, has_half_surrogate, type_of
from aunet.errors import InputError
from pipelines.store import storage

CHUNK_BYTES = 1 << 20
MAX_ELEMENT_CHARACTERS = 256 << 20
"""Of one element: an image's annotations have a thousandth."""
MAX_NUMBER_TAIL = 2
"""Characters that the beginning of a number may have after its last complete one: `-3.5` and `e-`."""
_WHITESPACE = " \t\n\r"


def stream_json(uri: str, lists: Collection[str] = (), values: Collection[str] = ()) -> Iterator[tuple[str, Any]]:
    """What an object has under some keys, in the order of the file.

    Args:
        uri: of the file, a JSON object.
        lists: keys of lists: each element comes alone, as (key, element).
        values: keys of small values: each comes as (key, value). A key that is missing does not come.

    Raises:
        InputError: no such file; it is not JSON, or holds what `read_json` refuses; a key of `lists` is missing, given
            twice or not a list. The message has no cure: the caller knows who writes such files.
    """
    seen: set[str] = set()
    for key, value in _members(_Scanner(uri, uri), lists, values):
        seen.add(key)
        if key in values:
            yield key, value
        else:
            for element in value:
                yield key, element
    if missing := [key for key in lists if key not in seen]:
        raise InputError(f"{uri}: no list {', '.join(map(repr, missing))}")


def stream_lists(uri: str, lists: Collection[str], source_name: str) -> Iterator[tuple[str, Iterator[Any]]]:
    """The lists that an object has under some keys, in the order of the file: key and elements. What is not read of a
    list is skipped; a key that is missing does not come.

    Args:
        uri: of the file, a JSON object.
        lists: the keys.
        source_name: what the file is called in messages.

    Raises:
        InputError: as `stream_json`; that there is no such file, at once.
    """
    return _members(_Scanner(uri, source_name), lists, ())


def _members(scanner: _Scanner, lists: Collection[str], values: Collection[str]) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    scanner.expect("{")
    more = scanner.peek() != "}"
    while more:
        key = scanner.value()
        if not isinstance(key, str):
            raise scanner.error("a key that is not a text")
        if key in seen and (key in lists or key in values):
            raise scanner.error(f"{key!r:.60} is given twice")
        seen.add(key)
        scanner.expect(":")
        if scanner.peek() == "[" and key not in values:
            elements = scanner.elements()
            if key in lists:
                yield key, elements
            for _ in elements:
                pass
        else:
            value = scanner.value()
            if key in lists:
                raise InputError(f"{scanner.source_name}: {key!r} is {type_of(value)}, not a list")
            if key in values:
                yield key, value
        more = scanner.peek() == ","
        if more:
            scanner.expect(",")
    scanner.expect("}")
    if scanner.peek():
        raise scanner.error("more text after the end of the object")


class _Scanner:
    """A window on the text of a file, which moves forward."""

    def __init__(self, uri: str, source_name: str) -> None:
        self.source_name = source_name
        try:
            self.file = storage.open_file(uri)
        except (FileNotFoundError, IsADirectoryError):
            raise InputError(f"{uri}: no such file; put it there or correct the path") from None
        self.text, self.position, self.offset = "", 0, 0
        self.decode_text = codecs.getincrementaldecoder("utf-8-sig")()
        self.decode_value = decoder().raw_decode

    def error(self, message: str) -> InputError:
        """What is wrong, and near which character."""
        excerpt = self.text[self.position : self.position + 24]
        return InputError(
            f"{self.source_name}: not JSON ({message}; character {self.offset + self.position}, at {excerpt!r})"
        )

    def peek(self) -> str:
        """The next character that is not a space; "" at the end of the file."""
        while True:
            text = self.text
            while self.position < len(text):
                if text[self.position] not in _WHITESPACE:
                    return text[self.position]
                self.position += 1
            if not self._read():
                return ""

    def expect(self, character: str) -> None:
        """Move past the next character, which must be `character`."""
        if self.peek() != character:
            raise self.error(f"{character!r} is missing")
        self.position += 1

    def elements(self) -> Iterator[Any]:
        """The elements of the list that begins here."""
        self.expect("[")
        if self.peek() == "]":
            self.position += 1
            return
        while True:
            yield self.value()
            if self.peek() == "]":
                self.position += 1
                return
            self.expect(",")

    def value(self) -> Any:
        """The value that begins here."""
        self.peek()
        while True:
            try:
                value, end = self.decode_value(self.text, self.position)
                if len(self.text) - end <= MAX_NUMBER_TAIL and self._read():
                    continue  # a number may go on in what was read
            except json.JSONDecodeError as error:
                if len(self.text) - self.position > MAX_ELEMENT_CHARACTERS or not self._read():
                    raise self.error(error.msg) from None
                continue
            except RecursionError:
                raise self.error("nested too deep") from None
            except ValueError as error:
                raise self.error(str(error).partition(";")[0][:200]) from None
            if self.text.find("\\u", self.position, end) >= 0 and has_half_surrogate(value):
                raise self.error("a text that is not Unicode")
            self.position = end
            return value

    def _read(self) -> bool:
        """Read more, twice as much as is waiting; whether there was any."""
        rest = self.text[self.position :]
        data = self.file.read(max(CHUNK_BYTES, len(rest)))
        try:
            more = self.decode_text.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise self.error(f"a text that is not Unicode: {error.reason}") from None
        if not data:
            return False
        self.offset += self.position
        self.text, self.position = rest + more, 0
        return True
