"""What a job of many tasks has done so far: one file per task, so that a killed one goes on with the rest."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from dataclasses import dataclass
from typing import Any

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.stored_folder import Folder
from pipelines.store.stored_json import stored_object

PARTS = "parts"
"""Folder of the parts of all evaluations, in a report's folder; of predictions, in theirs."""
_FILE = re.compile(r"(\d{6,})\.json\.gz")


@dataclass(frozen=True, slots=True)
class Parts(Folder):
    """The parts of one job; its name says of which model, data, settings and code."""

    verb: str = "evaluate"
    """What does the tasks."""

    def file_uri(self, number: int) -> str:
        """The part of one task."""
        return storage.join(self.uri, f"{number:06d}.json.gz")

    def finished(self) -> set[int]:
        """Numbers of the tasks whose parts are there."""
        files = storage.list_files(self.uri, follow_links=False) if self.exists() else []
        return {int(match[1]) for file in files if (match := _FILE.fullmatch(file.path))}

    def write(self, number: int, plain: dict[str, Any]) -> None:
        """Commit a part; it appears whole."""
        storage.write_bytes(self.file_uri(number), gzip.compress(json.dumps(plain).encode(), 3, mtime=0))

    def read(self, number: int) -> dict[str, Any]:
        """A part.

        Raises:
            InputError: it is missing, or damaged: then it is deleted, so that its task is done again.
        """
        uri, cure = self.file_uri(number), f"run `{self.verb}` again, which makes it anew"
        if not storage.exists(uri):
            raise InputError(f"{uri}: this part is missing; {cure}")
        data = storage.read_bytes(uri)
        try:
            return stored_object(gzip.decompress(data), uri, cure)
        except (OSError, EOFError, zlib.error, InputError):
            storage.delete(uri)
            raise InputError(f"{uri}: this part is damaged; {cure}") from None

    def delete(self) -> None:
        """Remove all parts."""
        storage.delete(self.uri)
