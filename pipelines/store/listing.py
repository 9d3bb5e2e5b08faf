"""A folder of raw files, listed once."""

from __future__ import annotations

from collections.abc import Set
from functools import cached_property

from aunet.errors import InputError
from pipelines.store import storage


class Listing:
    """What is in a folder, and what is missing.

    Raises:
        InputError: no such folder.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.files = {file.path: file for file in storage.list_files(uri)}

    @property
    def names(self) -> Set[str]:
        """Paths of the files below the folder."""
        return self.files.keys()

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {name.casefold(): name for name in self.names}

    def missing(self, name: str) -> str:
        """The message for a file that does not exist."""
        alike = self._folded.get(name.casefold())
        return f"missing in {self.uri}" + (f"; there is {alike}, and capitals matter" if alike else "")

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
