"""Tasks for a few actors of Ray that keep what they have loaded: each gets the next task when it is free."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import ray
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError

MAX_DEATHS = 5
"""Actors that may die before the work is given up."""
DEATHS = (RayActorError, OutOfMemoryError, ObjectLostError)
"""What Ray raises when an actor or its machine is gone, or had too little memory."""


class Crew:
    """At most `size` actors. Nothing waits for those that the cluster has no room for; one that dies is replaced.

    Args:
        start: gives a new actor; its methods are remote.
        size: 1 or more.
    """

    def __init__(self, start: Callable[[], Any], size: int) -> None:
        self.start, self.size, self.deaths = start, size, 0
        self.idle: list[Any] = []
        self._joining: dict[Any, Any] = {}
        self._busy: dict[Any, tuple[Any, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in (*self.idle, *self._joining.values(), *(actor for actor, _ in self._busy.values())):
            ray.kill(actor)

    def results(self, tasks: Iterable[Any], call: Callable[[Any, Any], Any]) -> Iterator[tuple[Any, Any]]:
        """Every task with its result, as they come.

        Args:
            call: hands an actor a task and returns Ray's reference to the result.

        Raises:
            Exception: what a task raised, or that too many actors have died.
        """
        waiting = deque(tasks)
        while waiting or self._busy:
            while waiting and self.idle:
                task = waiting.popleft()
                actor = self.idle.pop()
                self._busy[call(actor, task)] = (actor, task)
            for _ in range(min(len(waiting), self.size - len(self._busy) - len(self._joining))):
                actor = self.start()
                self._joining[actor.__ray_ready__.remote()] = actor
            (done,), _ = ray.wait([*self._busy, *self._joining], num_returns=1)
            if done in self._joining:
                self._join(done)
                continue
            actor, task = self._busy.pop(done)
            try:
                result = ray.get(done)
            except DEATHS as error:
                waiting.appendleft(task)
                self._bury(error)
                continue
            self.idle.append(actor)
            yield task, result

    def _join(self, ready: Any) -> None:
        """An actor has started, or could not."""
        actor = self._joining.pop(ready)
        try:
            ray.get(ready)
            self.idle.append(actor)
        except DEATHS as error:
            self._bury(error)

    def _bury(self, error: Exception) -> None:
        self.deaths += 1
        if self.deaths > MAX_DEATHS:
            raise error
        reason = " ".join(str(error).split())[:200]
        print(f"a worker has died, another one goes on with its task: {reason}", file=sys.stderr)
