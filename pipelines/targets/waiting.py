"""Waiting for a job: looks at it that may fail, and troubles that may pass."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aunet.errors import Unavailable
from pipelines.targets.pod_troubles import Trouble

MAX_FAILED_POLLS = 5
"""Looks in a row that may fail while a job is waited for."""
TROUBLE_SECONDS = 30.0
"""For how long pods that cannot run are given the chance to run after all."""
QUIET_SECONDS = 20.0
"""An event that has not come again for so long is over. Less than `TROUBLE_SECONDS`: what happened once ends no job."""


class Polls:
    """Looks at a job, fewer than `MAX_FAILED_POLLS` of which may fail in a row."""

    def __init__(self) -> None:
        self.failures = 0
        """Looks that have failed since the last one that did not."""

    @contextmanager
    def look(self) -> Iterator[None]:
        """Leave the block where the target does not answer, and say so.

        Raises:
            Unavailable: that was one time too many.
        """
        try:
            yield
        except Unavailable as error:
            self.failures += 1
            if self.failures == MAX_FAILED_POLLS:
                raise
            print(f"{error}; trying again", file=sys.stderr)
        else:
            self.failures = 0


class Patience:
    """Waits before it believes that a job does not go on; says what else it waits for once.

    Kubernetes keeps events for an hour, and so what they say may be over: one that may be counts as long as it comes
    again.

    Args:
        seconds: for which a trouble must last, times its own patience.
        clock: seconds that only grow.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.clock = seconds, clock
        self.shown = ""
        self.first: dict[tuple[str, str], float] = {}
        """When an event was first met, and when it was first met with its moment; the states of pods are one event."""

    def judge(self, trouble: Trouble | None) -> Trouble | None:
        """The trouble, where it has lasted; None: go on waiting."""
        now = self.clock()
        if trouble is not None and trouble.is_final:
            began = self.first.setdefault((trouble.event, f"for {trouble.patience}"), now)
            came = self.first.setdefault((trouble.event, trouble.moment), now)
            if not trouble.event or now - came < QUIET_SECONDS:
                return trouble if now - began >= self.seconds * trouble.patience else None
        else:
            self.first.clear()
        line = trouble.line if trouble else ""
        if line and line != self.shown:
            print(line, file=sys.stderr)
        self.shown = line
        return None
