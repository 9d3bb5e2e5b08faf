"""A run and what is done to it: faults at chosen steps, each as soon as the run has come over the one before."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from aunet.errors import Unavailable
from pipelines.runtime.interruption import RESUME
from pipelines.store import storage
from pipelines.store.checkpoints import Checkpoints
from pipelines.training.proving.audit import Computed, computed
from pipelines.training.proving.damaging import flip_a_bit
from pipelines.training.proving.driving import DriverProcess, Task

Kind = Literal["worker", "driver", "pre-emption", "damage", "outage"]
"""A worker gets SIGKILL; the driver does; the driver gets SIGTERM; the driver gets SIGKILL and a bit of the newest
checkpoint is flipped; the folder of the checkpoints is away for a while."""
KINDS: tuple[Kind, ...] = get_args(Kind)
POLL_SECONDS = 0.1
MAX_DELAY = 1.0
"""Seconds after the chosen step: a fault comes anywhere in a step."""
GRACE_SECONDS = 120.0
"""For a driver that was told to end."""
STILL_SECONDS = 600.0
"""A run that begins no step for so long is given up."""
OUTAGE_SECONDS = 60.0
"""The longest that an outage lasts; it ends once a checkpoint could not be stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """A fault that was injected."""

    kind: Kind
    step: int
    """The last one that was begun, from 0."""
    attempt: str
    """The one that was going on."""
    at: float
    """Seconds since 1970."""
    done: str
    """What was done, in words."""
    seconds: float = 0.0
    """How long it lasted."""
    right: bool = True
    """Whether what it hit ended as it should."""


def schedule(counts: Mapping[Kind, int], num_steps: int, seed: int) -> list[tuple[Kind, int]]:
    """Faults in random order, each with the step from which on it comes, spread at random over a run.

    The first needs a checkpoint before it and the last some steps after it, so both ends stay free.
    """
    dice = random.Random(seed)
    kinds: list[Kind] = [kind for kind in KINDS for _ in range(counts.get(kind, 0))]
    dice.shuffle(kinds)
    steps = sorted(dice.randint(2, max(2, round(0.8 * num_steps))) for _ in kinds)
    return list(zip(kinds, steps, strict=True))


class Campaign:
    """A run of a proof.

    Args:
        checkpoints: of the run.
        spoil: called between the end of a driver and the start of the next one; says what it did.
    """

    def __init__(self, task: Task, checkpoints: Checkpoints, seed: int, spoil: Callable[[], str] | None = None) -> None:
        self.task, self.checkpoints, self.spoil = task, checkpoints, spoil
        self.dice = random.Random(seed)
        self.faults: list[Fault] = []
        self.error = ""
        """Why the run did not come to its end; empty: it did."""
        self.seconds = 0.0
        """From its start to its end."""
        self._driver: DriverProcess | None = None

    def run(self, faults: list[tuple[Kind, int]]) -> None:
        """Train to the end, and inject the faults meanwhile."""
        started = time.monotonic()
        try:
            self._driver = DriverProcess(self.task)
            for kind, step in faults:
                if not (reached := self._wait_for(step)):
                    break
                time.sleep(self.dice.uniform(0, MAX_DELAY))
                self._inject(kind, reached)
            self._finish()
        except Unavailable as error:
            self.error = str(error)
        finally:
            if self._driver is not None:
                self._driver.close()
            self.seconds = time.monotonic() - started

    @property
    def driver(self) -> DriverProcess:
        """The one that drives the run now."""
        assert self._driver is not None
        return self._driver

    def _wait_for(self, step: int) -> Computed | None:
        """The newest step begun, once it is at least `step`, in an attempt that came over the fault before; None: the
        run has ended before.

        Raises:
            Unavailable: the run broke off, or stands still.
        """
        last = self.faults[-1] if self.faults else None
        ended = last.attempt if last and last.kind != "outage" else ""
        still, count = time.monotonic(), -1
        while True:
            exit_code, entries = self.driver.exit_code, computed(self.task.audit_uri)
            if len(entries) != count:
                still, count = time.monotonic(), len(entries)
            newest = entries[-1] if entries else None
            if newest and newest.attempt != ended and newest.step >= step:
                return newest
            if exit_code == 0:
                return None
            if exit_code is not None:
                raise Unavailable(f"the driver ended with exit code {exit_code}")
            if time.monotonic() - still > STILL_SECONDS:
                raise Unavailable(f"the run has begun no step for {STILL_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)

    def _finish(self) -> None:
        """Wait for the end of the run.

        Raises:
            Unavailable: as `_wait_for`.
        """
        if self._wait_for(sys.maxsize) is None and self.faults:
            last = self.faults[-1]
            print(f"the run has come over {len(self.faults)} faults, the last at step {last.step}", file=sys.stderr)

    def _inject(self, kind: Kind, reached: Computed) -> None:
        began, right = time.time(), True
        if kind == "worker":
            entries = computed(self.task.audit_uri)
            victim = self.dice.choice([e for e in entries if e.attempt == reached.attempt and e.step == reached.step])
            note = victim.note()
            if note.host == socket.gethostname():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(note.pid, signal.SIGKILL)
            else:
                self.driver.kill_worker(note.pid, note.host)
            done = f"rank {victim.rank} (process {note.pid} on {note.host}): SIGKILL"
        elif kind == "outage":
            with self._checkpoints_away():
                right = self._wait_for_a_warning()
            done = f"{self.checkpoints.uri}: away"
        elif kind == "pre-emption":
            code = self.driver.end(signal.SIGTERM, GRACE_SECONDS)
            right, done = code == RESUME, f"driver: SIGTERM, exit code {code}"
        else:
            code = self.driver.end(signal.SIGKILL, GRACE_SECONDS)
            done = "driver: SIGKILL"
        newest = computed(self.task.audit_uri)[-1]
        if kind == "damage" and (complete := self.checkpoints.complete()):
            done += f", {flip_a_bit(complete[-1], self.dice)} flipped"
        if kind in ("driver", "damage", "pre-emption"):
            done += f", {self.spoil()}" if self.spoil else ""
            self.driver.close()
            self._driver = DriverProcess(self.task)
        seconds = time.time() - began if kind == "outage" else 0.0
        fault = Fault(
            kind=kind, step=newest.step, attempt=newest.attempt, at=began, done=done, seconds=seconds, right=right
        )
        print(f"fault {len(self.faults) + 1}, step {fault.step}: {done}", file=sys.stderr)
        self.faults.append(fault)

    @contextlib.contextmanager
    def _checkpoints_away(self) -> Iterator[None]:
        """A file in place of the folder of the checkpoints."""
        folder = Path(self.checkpoints.uri)
        away = folder.with_name(f"{folder.name}-away")
        folder.rename(away)
        while not _created(folder):
            shutil.rmtree(folder, ignore_errors=True)  # a checkpoint was just being written into it
        try:
            yield
        finally:
            folder.unlink()
            away.rename(folder)

    def _wait_for_a_warning(self) -> bool:
        """Whether the driver said that something cannot be stored."""
        count, end = len(self.driver.listen()), time.monotonic() + OUTAGE_SECONDS
        while time.monotonic() < end and self.driver.exit_code is None:
            if any("checkpoint" in text for text in self.driver.listen()[count:]):
                return True
            time.sleep(POLL_SECONDS)
        return False


def _created(file: Path) -> bool:
    """Create an empty file, if nothing of that name exists."""
    try:
        file.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def possible_kinds(checkpoints: Checkpoints) -> tuple[Kind, ...]:
    """What can be done to a run: only a folder of this machine can be taken away."""
    return tuple(kind for kind in KINDS if kind != "outage" or not storage.is_remote(checkpoints.uri))
