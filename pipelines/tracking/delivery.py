"""Handing things to a slow or broken receiver without ever waiting for it: a queue and one thread."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from itertools import islice
from typing import Generic, TypeVar

from aunet.errors import InputError, Unavailable

T = TypeVar("T")

BATCH = 500
"""Most things handed over at once."""
RETRY_SECONDS = (0.5, 30.0)
"""First and longest wait before what failed is tried again."""
CLOSING_SECONDS = 2.0
"""Longest wait once the delivery is being closed."""


def answer_within(seconds: float, ask: Callable[[], T], what: str) -> T:
    """What `ask` returns or raises, which goes on in a thread where it needs longer.

    Args:
        what: is asked, for the message.

    Raises:
        Unavailable: there is no answer after `seconds`.
    """
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - raised again by `result`
            answer.set_exception(error)

    threading.Thread(target=work, name=what, daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        raise Unavailable(f"{what}: no answer within {seconds:.0f} s") from None


class Delivery(Generic[T]):
    """Hands things to `receive` in batches, in order, from a thread of its own.

    `put` neither waits nor raises. What fails is tried again for as long as the delivery lives, so that an outage of
    any length loses nothing. The queue has no limit: whoever puts things into it knows that they are few. The first
    failure is reported on stderr.

    Args:
        receive: called with one to 500 things; may fail, and is then called with them again.
        what: what is delivered, and where to, for the messages.
        retry_seconds: first and longest wait before what failed is tried again.
    """

    def __init__(
        self, receive: Callable[[list[T]], None], what: str, retry_seconds: tuple[float, float] = RETRY_SECONDS
    ) -> None:
        self.problem: str | None = None
        """Why the newest attempt failed; None: it did not, or there was none."""
        self._receive = receive
        self._what = what
        self._retry_seconds = retry_seconds
        self._warned = False
        self._last: Callable[[], None] = lambda: None
        self._deadline = float("inf")
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._complete = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"delivery of {what}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many things were not received yet."""
        return len(self._waiting)

    def put(self, thing: T) -> None:
        """Queue a thing; what comes after `close` is not received."""
        with self._changed:
            self._waiting.append(thing)
            self._changed.notify()

    def close(self, last: Callable[[], None], seconds: float) -> bool:
        """Deliver what is waiting, then call `last`, in the delivery's thread.

        An `InputError` is final; after other failures everything is tried until the time is over.

        Args:
            seconds: how long this may take.

        Returns:
            Whether all was received and `last` succeeded; `problem` says why not.
        """
        self._last = last
        self._deadline = time.monotonic() + seconds
        with self._changed:
            self._closing.set()
            self._changed.notify()
        self._thread.join(seconds)
        return self._complete.is_set()

    def _work(self) -> None:
        while batch := self._next_batch():
            if not self._insist(self._receive, batch):
                return
            for _ in batch:
                self._waiting.popleft()
        if self._insist(lambda _: self._last(), []):
            self._complete.set()

    def _next_batch(self) -> list[T]:
        """What is waiting; empty when closed and nothing is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
            return list(islice(self._waiting, BATCH))

    def _insist(self, action: Callable[[list[T]], None], batch: list[T]) -> bool:
        """Try until it succeeds, or the time after `close` is over."""
        wait, longest = self._retry_seconds
        while True:
            try:
                action(batch)
                self.problem = None
                return True
            except Exception as error:  # noqa: BLE001 - whatever a receiver does, the sender continues
                kind = "" if isinstance(error, (InputError, Unavailable)) else f"{type(error).__name__}: "
                self.problem = f"{kind}{' '.join(str(error).split())[:300]}"
                is_final = isinstance(error, InputError)
            self._warn()
            if not self._closing.is_set():
                self._closing.wait(wait)
            elif is_final or time.monotonic() >= self._deadline:
                return False
            else:
                time.sleep(min(wait, CLOSING_SECONDS))
            wait = min(2 * wait, longest)

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            print(f"{self._what}: {self.problem}; trying again", file=sys.stderr)
