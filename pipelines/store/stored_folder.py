"""What every folder of the store is: a URI with a name."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.store import storage


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the store."""

    uri: str

    @property
    def name(self) -> str:
        """The last part of its URI."""
        return self.uri.rstrip("/").rpartition("/")[2]

    def exists(self) -> bool:
        """Whether there is anything in it."""
        return storage.exists(self.uri)
