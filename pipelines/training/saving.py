"""Checkpoints written beside the training: copied between two steps, then stored by a thread."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.runtime.events import Event
from pipelines.runtime.interruption import NotSaved
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.store.checkpoints import Checkpoints, superseded
from pipelines.store.hashes import upload_hashed
from pipelines.store.history import History
from pipelines.training.checkpoint import Progress, save_checkpoint
from pipelines.training.snapshot import Snapshot

PATIENCE = 600.0
"""Seconds for which the last checkpoint of a run, or of one that must end, is tried again."""
RETRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Stores:
    """Where the saver writes, and under which conditions."""

    checkpoints: Checkpoints
    history: History
    may_commit: Callable[[], object]
    """Raises where somebody else drives the run by now."""
    is_needed: Callable[[int], bool]
    """Whether the checkpoint of a step is kept though it is not one of the last."""


class Saver:
    """Saves the checkpoints of a run, one at a time.

    A checkpoint that cannot be stored is reported as a warning; the next one counts, and holds all that it held.

    Args:
        post: tells the driver what happened.
    """

    def __init__(self, config: RunConfig, stores: Stores, post: Callable[[Event], None]) -> None:
        self.config, self.stores, self.post = config, stores, post
        self.saved_at = time.monotonic()
        """When the state that would be resumed from was reached."""
        self.events: list[Event] = []
        """Figures that are not in the history yet."""
        self.error: Exception | None = None
        """Why the last checkpoint was not stored."""
        self._snapshot = Snapshot()
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._thread is not None and self._thread.is_alive()

    def save(self, progress: Progress, state: dict[str, Any]) -> None:
        """Begin to save; returns as soon as the state may change again.

        Args:
            state: names → states of tensors and plain values.
        """
        self.wait()
        copy = self._snapshot.take(state)
        events, self.events = self.events, []
        arguments = (progress, copy, events, time.monotonic())
        self._thread = threading.Thread(target=self._write, args=arguments, name="checkpoint", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until nothing is being written."""
        if self._thread is not None:
            self._thread.join()

    def finish(self, progress: Progress, state: dict[str, Any], is_hurried: Callable[[], bool]) -> None:
        """Make sure that this state is stored, which `save` was called with last: where it is not, try again.

        Args:
            is_hurried: asked before every attempt whether there is no time for another.

        Raises:
            NotSaved: it could not be stored, for `PATIENCE` seconds.
        """
        self.wait()
        end = time.monotonic() + PATIENCE
        while self.error is not None:
            if is_hurried() or time.monotonic() > end:
                raise NotSaved(
                    f"no checkpoint of step {progress.step} could be stored: {one_line(self.error)}; mend that, then "
                    "run the same again: it resumes from the checkpoint before"
                )
            time.sleep(RETRY_SECONDS)
            self.save(progress, state)
            self.wait()

    def _write(self, progress: Progress, state: dict[str, Any], events: list[Event], reached: float) -> None:
        try:
            began, checkpoint = time.monotonic(), self.stores.checkpoints.new(progress.step)
            self._snapshot.wait()
            with tempfile.TemporaryDirectory() as scratch:
                save_checkpoint(Path(scratch), progress, state, self.config)
                num_bytes = sum(file.stat().st_size for file in Path(scratch).iterdir())
                self.stores.history.append(events)
                events = []
                upload_hashed(Path(scratch), checkpoint.uri, commit=self._commit)
            self.error, self.saved_at = None, reached
            seconds = time.monotonic() - began
            self._post("checkpoint", progress.step, name=checkpoint.name, seconds=seconds, bytes=num_bytes)
        except Exception as error:  # noqa: BLE001 - whatever a store does, the training goes on
            self.error, self.events[:0] = error, events
            self._warn(progress.step, f"no checkpoint of step {progress.step}", error)
            return
        try:
            self._prune()
        except Exception as error:  # noqa: BLE001 - the next one tries again
            self._warn(progress.step, "older checkpoints are not deleted", error)

    def _commit(self, uri: str, hashes: bytes) -> None:
        self.stores.may_commit()
        storage.write_bytes(uri, hashes)

    def _prune(self) -> None:
        """Delete what is no longer needed, and what was never completed."""
        checkpoints = self.stores.checkpoints
        old = superseded(checkpoints.complete(), self.config.train.keep_last, self.stores.is_needed)
        for checkpoint in (*old, *checkpoints.others()):
            checkpoint.delete()

    def _warn(self, step: int, what: str, error: Exception) -> None:
        self._post("warning", step, text=f"{what}: {one_line(error)}")

    def _post(self, kind: str, step: int, **more: Any) -> None:
        self.post({"kind": kind, "step": step, **more})


def one_line(error: Exception) -> str:
    """What an error says, in a line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
