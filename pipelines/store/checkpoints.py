"""The checkpoints of a run, one folder each: `checkpoints/<step>-<token>/`.

A checkpoint is complete once its list of hashes is there, which is written last and deleted first. The listing of the
folder is the only index, so nothing else can be lost, damaged or of another version. The token tells apart two
checkpoints of one step, of which the first was found damaged or was never completed.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aunet.model_files import HASHES
from pipelines.store import storage
from pipelines.store.stored_folder import Folder

NAME = re.compile(r"([0-9]{10})-[0-9a-f]{8}")
DAMAGED = "damaged.json"
"""Written into a checkpoint that was found damaged: it no longer counts."""


@dataclass(frozen=True, slots=True)
class Checkpoint(Folder):
    """The state of a run after a number of steps."""

    @property
    def step(self) -> int:
        """Steps that were finished."""
        match = NAME.fullmatch(self.name)
        assert match
        return int(match[1])

    def mark_damaged(self, why: str) -> None:
        """Let it no longer count; its files stay until the next checkpoint is stored."""
        storage.write_bytes(storage.join(self.uri, DAMAGED), json.dumps({"why": why}).encode())

    def delete(self) -> None:
        """Remove it; wherever this is interrupted, it is not complete any more."""
        storage.delete(storage.join(self.uri, HASHES))
        storage.delete(self.uri)


@dataclass(frozen=True, slots=True)
class Checkpoints(Folder):
    """All checkpoints of a run."""

    def new(self, step: int) -> Checkpoint:
        """A checkpoint that is not written yet."""
        return self.named(f"{step:010d}-{uuid.uuid4().hex[:8]}")

    def named(self, name: str) -> Checkpoint:
        """The one in the folder of that name."""
        return Checkpoint(storage.join(self.uri, name))

    def complete(self) -> list[Checkpoint]:
        """Those that count, the newest last."""
        return [checkpoint for checkpoint, names in self._listed().items() if _counts(names)]

    def others(self) -> list[Checkpoint]:
        """Those that were never completed, or were found damaged; no links."""
        return [checkpoint for checkpoint, names in self._listed().items() if not _counts(names)]

    def _listed(self) -> dict[Checkpoint, set[str]]:
        """Every folder with the name of a checkpoint, and the names of its files."""
        names: dict[Checkpoint, set[str]] = {}
        for file in storage.list_files(self.uri, follow_links=False) if self.exists() else []:
            folder, _, name = file.path.partition("/")
            if NAME.fullmatch(folder):
                names.setdefault(self.named(folder), set()).add(name)
        return names


def _counts(names: set[str]) -> bool:
    """Whether a checkpoint with files of these names is complete, and was not found damaged."""
    return HASHES in names and DAMAGED not in names


def superseded(checkpoints: Sequence[Checkpoint], keep_last: int, is_needed: Callable[[int], bool]) -> list[Checkpoint]:
    """Those that are no longer needed.

    Args:
        checkpoints: the newest last.
        keep_last: how many of the newest are kept.
        is_needed: whether the checkpoint of a step is kept besides.
    """
    return [checkpoint for checkpoint in checkpoints[:-keep_last] if not is_needed(checkpoint.step)]
