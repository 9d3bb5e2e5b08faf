"""The driver's watch over an attempt: shows events, answers, ends what hangs, and has all saved before it must end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray.exceptions import RayError
from ray.train import TrainingFailedError

from pipelines.runtime.board import Beat
from pipelines.runtime.cluster import needs, possible_workers
from pipelines.runtime.events import Event
from pipelines.runtime.interruption import Signals
from pipelines.runtime.nodes import (
    draining_nodes,
    end_process,
    free_orphans,
    free_resources,
    give_back,
    healthy_resources,
)
from pipelines.settings.run_config import RunConfig
from pipelines.store.lease import Lease
from pipelines.store.run_folder import RunFolder
from pipelines.training.attempt import Attempt, cause_of_failure, end_workers, found_no_room, is_echo
from pipelines.training.record import RunRecord
from pipelines.training.validation import Validations

TICK_SECONDS = 0.25
DRAIN_SECONDS = 1.0
"""Between two questions whether a node is about to be taken away."""
GROWTH_SECONDS = 30.0
"""Between two questions whether there is room for more workers; two answers in a row count."""
VAIN_SECONDS = 600.0
"""After room that was none, until it is asked for again."""
WAIT_SECONDS = 60.0
"""Between two lines that say that workers do not start."""

Ending = Literal["", "stopped", "exhausted", "signal", "drained", "grown"]
"""Why an attempt is ended by its driver; empty: it is not."""


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """How an attempt ended."""

    ending: Ending
    cause: str = ""
    """What went wrong, in words; empty: nothing."""
    is_final: bool = False
    """Whether it would go wrong again."""
    passes: bool = False
    """Whether that is no fault of the input, as of a store that is away."""


class Supervisor:
    """Watches the attempts of one run.

    Args:
        stop: asked after every evaluation, with its event, whether to end the run there.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        board: Any,
        record: RunRecord,
        validations: Validations,
        lease: Lease,
        signals: Signals,
        stop: Callable[[Event], bool] | None = None,
    ) -> None:
        self.config, self.folder, self.board, self.record = config, folder, board, record
        self.validations, self.lease, self.signals, self.stop = validations, lease, signals, stop
        self.seen = 0
        """Events that were read from the board."""
        self.has_saved = False
        """Whether the attempt has stored a checkpoint."""
        self.interruption = ""
        """What ended the attempt before, until the next one says where it resumes."""
        self.beats: dict[int, Beat] = {}
        self.failures: list[Event] = []
        self.ending: Ending = ""
        self.hung = ""
        self.reached = 0
        """The highest step of the attempt before."""
        self.num_workers, self.room = 0, 0
        self.grows_after = 0.0
        """Not asked for room before: fewer workers came than there seemed to be room for, as decoding tasks rest."""
        self._waiting = Regular(self._say_that_it_waits, WAIT_SECONDS)

    def watch(self, attempt: Attempt) -> AttemptOutcome:
        """Until the attempt has ended."""
        if self.ending == "grown" and attempt.num_workers < self.room:
            self.grows_after = time.monotonic() + VAIN_SECONDS
        self.beats, self.failures, self.ending, self.hung, self.has_saved = {}, [], "", "", False
        checks = Regular(self._end_where_drained, DRAIN_SECONDS), Regular(self._grow, GROWTH_SECONDS)
        self.num_workers, self.room = attempt.num_workers, 0
        self._waiting.last = time.monotonic()
        try:
            while not attempt.has_ended(TICK_SECONDS):
                self._read()
                self._end_by_signal()
                if self.lease.lost:
                    self.lease.check()
                if self.ending == "signal" and not self.beats:
                    return AttemptOutcome("signal")  # nothing has begun
                for regular in (*checks, self._waiting):
                    regular()
        except BaseException:
            end_workers(self.beats)
            raise
        self._read()
        for reservation in {beat.reservation for beat in self.beats.values()} - {""}:
            give_back(reservation)
        outcome = self._outcome(attempt)
        self.beats, self.num_workers = {}, 0
        return outcome

    def _outcome(self, attempt: Attempt) -> AttemptOutcome:
        if attempt.error is None or found_no_room(attempt.error):
            return AttemptOutcome(self.ending)
        self.reached = max((beat.step for beat in self.beats.values()), default=0)
        final = next((event for event in self.failures if event["final"]), None)
        if final is not None:
            return AttemptOutcome(self.ending, final["error"], is_final=True, passes=final.get("passes", False))
        if not isinstance(attempt.error, TrainingFailedError | RayError):
            raise attempt.error
        cause = self.hung or cause_of_failure(attempt.error, self.failures, self.beats)
        return AttemptOutcome(self.ending, cause)

    def _read(self) -> None:
        events, beats = ray.get(self.board.read.remote(self.seen))
        self.seen += len(events)
        self.beats = {beat.rank: beat for beat, _, _ in beats}
        for event in events:
            self._take(event)
        for event in self.validations.poll():
            self._take_quality(event)
        self.record.write()
        self._end_where_hung(beats)

    def _take(self, event: Event) -> None:
        if event["kind"] == "resume":
            self.record.see(event)
            self._say_where_it_resumes(event["step"])
            return
        if event["kind"] == "failure":
            self.failures.append(event)
            if is_echo(event):
                return
        self.record.see(event)
        if event["kind"] == "checkpoint":
            self.has_saved = True
            if self.config.train.validate == "beside":
                self.validations.add(self.folder.checkpoints.named(event["name"]))
            self._keep()
        elif event["kind"] == "evaluation":
            self._answer(event)

    def _take_quality(self, event: Event) -> None:
        """Of a checkpoint that was measured beside the training."""
        self.record.insert(event)
        self._keep()
        if event["kind"] == "evaluation" and self._must_end(event):
            self.board.stop.remote()

    def _answer(self, event: Event) -> None:
        self._keep()
        must_end = self._must_end(event)
        self.board.answer.remote(event["step"], must_end)

    def _must_end(self, event: Event) -> bool:
        if self.stop is not None and self.stop(event):
            self.ending = "stopped"
        elif (end := self.record.exhausted_at(self.config.train.patience)) is not None and event["step"] >= end:
            self.ending = "exhausted"
        return self.ending in ("stopped", "exhausted")

    def _keep(self) -> None:
        """Tell rank 0 which checkpoints are still needed."""
        self.board.keep.remote(self.record.wanted(self.config.train.patience), self.validations.measured)

    def _say_where_it_resumes(self, step: int) -> None:
        last = max(self.record.last_step, self.reached)
        workers = f"{self.num_workers} worker{'s' * (self.num_workers > 1)}"
        where = f"from step {step} of {self.validations.plan.num_steps}" if step else "from the beginning"
        again = f"; {last - step} steps are computed again" if last > step else ""
        text = f"{self.interruption}; resuming {where} with {workers}{again}" if self.interruption else ""
        more = {"text": text, "recomputed": max(last - step, 0)} if text else {}
        self.record.add("restart" if text else "start", step, workers=self.num_workers, **more)
        self.interruption = ""

    def _end_by_signal(self) -> None:
        if not self.signals.name or self.ending:
            return
        self.ending = "signal"
        step = max((beat.step for beat in self.beats.values()), default=0)
        self.record.add("stop", step, text=f"{self.signals.name}: saving a checkpoint after this step, then ending")
        self.board.stop.remote()

    def _end_where_drained(self) -> None:
        leaving = draining_nodes()
        ranks = sorted(beat.rank for beat in self.beats.values() if beat.node in leaving)
        if ranks and not self.ending:
            self.ending = "drained"
            self.interruption = f"the node of rank {', '.join(map(str, ranks))} is about to be taken away"
            self.board.stop.remote()

    def _grow(self) -> None:
        train = self.config.train
        if (
            self.num_workers >= train.max_workers
            or self.ending
            or not self.beats
            or time.monotonic() < self.grows_after
        ):
            return
        room = possible_workers(train, self.config.feed, self._resources())
        if room == self.room > self.num_workers:
            self.ending, self.interruption = "grown", f"there is room for {room} workers instead of {self.num_workers}"
            self.board.stop.remote()
        self.room = room

    def _resources(self) -> dict[str, float]:
        """What is free, and what this training itself may hold; what others hold is no room."""
        own = needs(self.num_workers, self.config.train.use_gpu, self.config.feed)
        free, healthy = free_resources(), healthy_resources()
        return {kind: min(free[kind] + own[kind], healthy[kind]) for kind in own}

    def _end_where_hung(self, beats: list[tuple[Beat, float, float]]) -> None:
        seconds = self.config.train.hang_seconds
        silent = [(beat, quiet) for beat, quiet, _ in beats if quiet > seconds]
        stuck = [(beat, idle) for beat, _, idle in beats if idle > 10 * seconds]
        if self.hung or not (silent or stuck):
            return
        if silent:
            beat, quiet = max(silent, key=lambda entry: entry[1])
            self.hung = f"{beat} has not answered for {quiet:.0f} s (step {beat.step}, {beat.phase}) and was ended"
        else:
            beat, idle = min(stuck, key=lambda entry: (entry[0].step, entry[0].count))
            self.hung = f"{beat} has made no progress for {idle:.0f} s (step {beat.step}, {beat.phase}) and was ended"
        end_process(beat.pid, beat.node)

    def wait(self) -> None:
        """Let a moment pass while the cluster has too few CPUs or GPUs."""
        time.sleep(TICK_SECONDS)
        self._waiting()
        if self.lease.lost:
            self.lease.check()
        if self.signals.name:
            text = f"ended by {self.signals.name} while it waited for workers; the same command resumes"
            self.record.add("end", self.record.last_step, text=text)
            self.signals.check(f"{self.folder.uri}: {text}")

    def _say_that_it_waits(self) -> None:
        if not self.beats:
            free_orphans()
            why = f"{self.interruption}; " if self.interruption else ""
            number = self.num_workers or self.config.train.min_workers
            text = f"{why}waiting for {number} worker{'s' * (number != 1)} to start"
            self.record.add("wait", self.record.last_step, text=text)


class Regular:
    """Calls a function at most once in so many seconds, for the first time after them."""

    def __init__(self, function: Callable[[], object], seconds: float) -> None:
        self.function, self.seconds = function, seconds
        self.last = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self.last >= self.seconds:
            self.last = time.monotonic()
            self.function()
