"""Handing things to a slow or broken receiver without ever waiting for it: a bounded queue and one thread."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

BATCH = 500
"""Most things handed over at once."""
RETRY_SECONDS = (0.5, 30.0)
"""First and longest wait before a failed batch is tried again."""


class Delivery(Generic[T]):
    """Hands things to `receive` in batches, in order, from a thread of its own.

    `put` neither waits nor raises. A batch that fails is tried again, so that a short outage loses nothing; in a long
    one the queue fills up and what comes then is dropped and counted. The first failure is reported on stderr.

    Args:
        receive: called with one to 500 things; may fail.
        what: what is delivered, and where to, for the messages.
        capacity: most things kept waiting.
    """

    def __init__(self, receive: Callable[[list[T]], None], what: str, capacity: int = 20_000) -> None:
        self.dropped = 0
        self._receive = receive
        self._what = what
        self._warned = False
        self._waiting: queue.Queue[T] = queue.Queue(capacity)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"delivery of {what}", daemon=True)
        self._thread.start()

    def put(self, thing: T) -> None:
        """Queue a thing, or drop and count it when the queue is full or closed."""
        try:
            if self._closing.is_set():
                raise queue.Full
            self._waiting.put_nowait(thing)
        except queue.Full:
            self.dropped += 1
            self._warn("the queue is full; dropping what follows")

    def close(self, timeout: float = 30.0) -> None:
        """Deliver what is waiting, for at most `timeout` seconds; what is left then is dropped and counted."""
        self._closing.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self.dropped += self._waiting.qsize()
        if self.dropped:
            print(f"{self._what}: {self.dropped} dropped", file=sys.stderr)

    def _work(self) -> None:
        while batch := self._next_batch():
            wait = RETRY_SECONDS[0]
            while not self._try(batch):
                if self._closing.is_set():  # that was the last attempt
                    self.dropped += len(batch)
                    break
                self._closing.wait(wait)
                wait = min(2 * wait, RETRY_SECONDS[1])

    def _next_batch(self) -> list[T]:
        """What is waiting; empty when closed and nothing is left."""
        batch: list[T] = []
        while not batch:
            try:
                batch.append(self._waiting.get(timeout=0.2))
            except queue.Empty:
                if self._closing.is_set():
                    return []
        while len(batch) < BATCH and not self._waiting.empty():
            batch.append(self._waiting.get_nowait())
        return batch

    def _try(self, batch: list[T]) -> bool:
        try:
            self._receive(batch)
        except Exception as error:  # noqa: BLE001 - whatever a receiver does, the sender continues
            self._warn(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}; trying again")
            return False
        return True

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            print(f"{self._what}: {message}", file=sys.stderr)
