"""A folder of raw files, listed once."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, MutableMapping, Set
from functools import cached_property
from urllib.parse import unquote

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.storage import FileInfo


class Listing:
    """What is in a folder, and what is missing. What macOS adds to folders and archives is not there.

    Args:
        keep: makes the mapping that holds a path and its file for each file.

    Raises:
        InputError: no such folder.
    """

    def __init__(self, uri: str, keep: Callable[[], MutableMapping[str, FileInfo]] = dict) -> None:
        self.uri = uri
        self.files = keep()
        for file in storage.each_file(uri):
            if not _is_of_macos(file.path):
                self.files[file.path] = file

    @property
    def names(self) -> Set[str]:
        """Paths of the files below the folder."""
        return self.files.keys()

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {_normal(name).casefold(): name for name in self.names}

    def missing(self, name: str) -> str:
        """The message for a file that does not exist, with the one that is probably meant."""
        return f"missing in {self.uri}{self.hint(name)}"

    def hint(self, name: str) -> str:
        """The end of a message for a file that does not exist: the one that is probably meant; or nothing."""
        mended = ((name.replace("\\", "/"), "folders are separated by /"), (unquote(name), "% codes are for web pages"))
        alike, reason = next(((form, why) for form, why in mended if form in self.names), (None, ""))
        if alike is None and (alike := self._folded.get(_normal(name).casefold())):
            is_same = _normal(alike) == _normal(name)
            reason = "they differ only in Unicode normalisation (NFC, NFD)" if is_same else "capitals matter"
        return f"; there is {alike}, and {reason}" if alike else ""

    def read(self, name: str) -> bytes | OSError:
        """A file's content, or why it cannot be read."""
        if name not in self.files:
            return FileNotFoundError(self.missing(name))
        try:
            return storage.read_bytes(storage.join(self.uri, name))
        except InputError as error:
            return FileNotFoundError(str(error))
        except OSError as error:
            return OSError(f"cannot be read ({error})")


def _is_of_macos(path: str) -> bool:
    """Whether a file holds the attributes of another one: `._a.jpg` beside it, or below an archive's `__MACOSX`."""
    *folders, name = path.split("/")
    return name.startswith("._") or "__MACOSX" in folders


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)
