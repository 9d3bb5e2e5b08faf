"""What the driver knows of a run: its events, kept in the history, shown, and reduced to what decisions need."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from pipelines.runtime.events import Event
from pipelines.store.history import FIGURES, History

PHASES = "input", "forward", "backward", "optimizer"
"""What a step consists of; checkpoints and evaluations are not counted as progress."""


class RunRecord:
    """The events of a run, from its first start on.

    Args:
        listeners: called with every new event.
    """

    def __init__(self, history: History, listeners: Sequence[Callable[[Event], None]]) -> None:
        self.history, self.listeners = history, listeners
        self.events = history.events()
        self.quality = {event["step"]: event["PQ"] for event in self.events if event["kind"] == "evaluation"}
        """PQ by step."""
        self._unwritten: list[Event] = []

    @property
    def last_step(self) -> int:
        """The highest step that any event is of."""
        return max((event["step"] for event in self.events), default=0)

    @property
    def best(self) -> tuple[float, tuple[int, ...]]:
        """The best PQ and its step, the first where several have it; minus infinity and nothing before the first."""
        if not self.quality:
            return float("-inf"), ()
        step = max(sorted(self.quality), key=lambda step: self.quality[step])
        return self.quality[step], (step,)

    @property
    def interruption(self) -> str:
        """How the driver before ended, in words; empty: there was none."""
        kinds = [event["kind"] for event in self.events if event["kind"] in ("start", "restart", "end")]
        if not kinds:
            return ""
        return "the run is continued" if kinds[-1] == "end" else "the driver was lost"

    def goodput(self) -> float | None:
        """Share of the time since the first start that went into steps that count; None: no step was timed."""
        starts = [event["at"] for event in self.events if event["kind"] == "start"]
        timed = [
            sum(event.get(f"{phase}_ms", 0.0) for phase in PHASES) for event in self.events if event["kind"] == "step"
        ]
        if not starts or not any(timed):
            return None
        return min(1.0, fmean(timed) / 1000 * self.last_step / max(time.time() - min(starts), 1e-9))

    def exhausted_at(self, patience: int) -> int | None:
        """The step of the evaluation that was the last of so many in a row no better than the best before them.

        None: there is none yet; with a patience of 0 there never is.
        """
        best, in_a_row = float("-inf"), 0
        for step in sorted(self.quality):
            in_a_row = 0 if self.quality[step] > best else in_a_row + 1
            best = max(best, self.quality[step])
            if patience and in_a_row >= patience:
                return step
        return None

    def wanted(self, patience: int) -> frozenset[int]:
        """Steps whose checkpoints must not be deleted: of the best PQ, and where patience ran out."""
        return frozenset(self.best[1]) | {step for step in [self.exhausted_at(patience)] if step is not None}

    def see(self, event: Event) -> None:
        """Show a new event of a worker; figures get into the history with the next checkpoint, all others now."""
        if event["kind"] == "evaluation":
            self.quality[event["step"]] = event["PQ"]
        if event["kind"] not in FIGURES:
            self._unwritten.append(event)
        self._show(event)

    def add(self, kind: str, step: int, **more: Any) -> None:
        """Add an event of the driver itself."""
        self.insert({"kind": kind, "step": step, "at": time.time(), **more})

    def insert(self, event: Event) -> None:
        """Add a whole event to the history, and show it."""
        if event["kind"] == "evaluation":
            self.quality[event["step"]] = event["PQ"]
        self._unwritten.append(event)
        self._show(event)
        self.write()

    def write(self) -> None:
        """Keep what is new; what a store does not accept now is kept with the next events."""
        try:
            self.history.append(self._unwritten)
            self._unwritten = []
        except Exception:  # noqa: BLE001 - the training does not depend on it
            return

    def _show(self, event: Event) -> None:
        self.events.append(event)
        for listener in self.listeners:
            listener(event)
