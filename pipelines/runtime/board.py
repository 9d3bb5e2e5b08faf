"""How the driver of a run and its workers talk: an actor, on which workers post events and find the driver's orders."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipelines.runtime.events import Event

BEAT_SECONDS = 1.0
"""Between two signs of life of a worker, each of which is answered with the driver's orders."""

ANSWER_SECONDS = 0.1
"""Between two questions whether an evaluation is answered."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What the driver wants of the workers of an attempt."""

    stop: bool = False
    """Save a checkpoint after the step that is being computed, and return."""
    keep: frozenset[int] = frozenset()
    """Steps whose checkpoints are still needed."""
    measured: int = 0
    """The last step whose checkpoint was measured beside the training, if it is to be; later ones are still needed."""
    answers: dict[int, bool] = field(default_factory=dict)
    """Step of an evaluation → whether the run must end there."""


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life of a worker."""

    rank: int
    pid: int
    host: str
    node: str
    """Ray's id of the node."""
    step: int
    """Steps finished."""
    phase: str
    """What it is doing."""
    count: int
    """Rises with everything that it does."""
    reservation: str = ""
    """Ray's id of the placement group that it runs in; empty: none."""

    def __str__(self) -> str:
        return f"rank {self.rank} (process {self.pid} on {self.host})"


class Board:
    """Events, signs of life and orders of one run. Its methods are called through Ray."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.orders = Orders()
        self.beats: dict[int, tuple[Beat, float, float]] = {}
        """By rank: the newest, when it came, and when `count` last changed."""

    def post(self, event: Event) -> None:
        self.events.append(event)

    def beat(self, beat: Beat) -> Orders:
        now = time.monotonic()
        before = self.beats.get(beat.rank)
        moved = now if before is None or before[0].count != beat.count else before[2]
        self.beats[beat.rank] = beat, now, moved
        return self.orders

    def begin(self, keep: frozenset[int], measured: int) -> None:
        """Forget the workers of the attempt before."""
        self.beats.clear()
        self.orders = Orders(keep=keep, measured=measured)

    def stop(self) -> None:
        self.orders = replace(self.orders, stop=True)

    def keep(self, steps: frozenset[int], measured: int) -> None:
        self.orders = replace(self.orders, keep=steps, measured=measured)

    def answer(self, step: int, stop: bool) -> None:
        self.orders = replace(self.orders, answers={**self.orders.answers, step: stop})

    def read(self, count: int) -> tuple[list[Event], list[tuple[Beat, float, float]]]:
        """The events after the first `count`; and of every worker its last sign of life, how many seconds ago that was,
        and for how many it has done nothing."""
        now = time.monotonic()
        return self.events[count:], [(beat, now - came, now - moved) for beat, came, moved in self.beats.values()]


@contextmanager
def open_board() -> Iterator[Any]:
    """A board on this process's node, so that it survives the loss of a worker's; a lost connection is tried again."""
    here: Any = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    board: Any = ray.remote(num_cpus=0, max_task_retries=-1, scheduling_strategy=here)(Board).remote()
    try:
        yield board
    finally:
        ray.kill(board)


class Link(Protocol):
    """A worker's end: what it tells its driver, and what it is told."""

    @property
    def orders(self) -> Orders: ...

    def post(self, event: Event) -> None:
        """Tell what happened."""
        ...

    def progress(self, step: int, phase: str) -> None:
        """Say what comes next."""
        ...

    def answer(self, step: int) -> bool:
        """Whether the run must end after the evaluation at that step; waits for the answer."""
        ...


class LocalLink:
    """A link to nobody: of a worker that trains in this process."""

    def __init__(self) -> None:
        self.orders = Orders()
        self.events: list[Event] = []

    def post(self, event: Event) -> None:
        """Keep an event."""
        self.events.append({"at": time.time(), **event})

    def progress(self, step: int, phase: str) -> None:
        """Nobody watches."""

    def answer(self, step: int) -> bool:
        """Nobody ends the run."""
        return False


class BoardLink:
    """A link through a board; a thread of its own gives the signs of life.

    Args:
        node: Ray's id of this worker's node.
        reservation: Ray's id of its placement group; empty: none.
    """

    def __init__(self, board: Any, rank: int, node: str, reservation: str = "") -> None:
        self.orders: Orders = Orders()
        self._board = board
        self._beat = Beat(rank, os.getpid(), socket.gethostname(), node, 0, "start", 0, reservation)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="signs of life", daemon=True)
        self._thread.start()

    @property
    def step(self) -> int:
        """Steps finished."""
        return self._beat.step

    def post(self, event: Event) -> None:
        """Tell what happened; does not wait."""
        self._board.post.remote({"at": time.time(), **event})

    def progress(self, step: int, phase: str) -> None:
        """Say what comes next; does not wait."""
        self._beat = replace(self._beat, step=step, phase=phase, count=self._beat.count + 1)

    def answer(self, step: int) -> bool:
        """Whether the run must end after the evaluation at that step; waits for the answer."""
        while (answer := self.orders.answers.get(step)) is None:  # the other thread may bring older orders back
            time.sleep(ANSWER_SECONDS)
            self.progress(step, "wait for an answer")
            self._call()
        return answer

    def close(self) -> None:
        """End the signs of life."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._call()
            except RayError:  # the driver is gone, and takes this process with it
                return
            self._closed.wait(BEAT_SECONDS)

    def _call(self) -> None:
        orders: Any = ray.get(self._board.beat.remote(self._beat))
        self.orders = orders
