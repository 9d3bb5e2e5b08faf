"""The folder of a job of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class JobFolder:
    """A job of this machine."""

    path: Path

    @property
    def log(self) -> Path:
        """What the job and its earlier attempts have printed."""
        return self.path / "log"

    @property
    def record(self) -> Path:
        """Process and command."""
        return self.path / "process.json"

    @property
    def exit_code(self) -> Path:
        """Written when the job has ended by itself."""
        return self.path / "exit_code"

    @property
    def stopped(self) -> Path:
        """Exists where the job was stopped."""
        return self.path / "stopped"

    @property
    def lock(self) -> Path:
        """Held as long as one of the job's processes lives."""
        return self.path / "lock"
