"""One driver for each run: the one that holds its lease. Others show its progress and succeed it if it dies."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Literal

from pipelines.runtime.events import Event
from pipelines.runtime.interruption import Signals
from pipelines.store.artifacts import TrainedRun
from pipelines.store.lease import Held, Lease, hold
from pipelines.store.run_folder import RunFolder

LEASE_SECONDS = 120.0
"""After which the driver on another machine that died is succeeded; on this machine it is at once."""
POLL_SECONDS = 2.0
"""Between two looks of somebody who waits."""


def drive_or_follow(
    folder: RunFolder,
    listeners: Sequence[Callable[[Event], None]],
    when_running: Literal["attach", "refuse"],
    drive: Callable[[Lease], TrainedRun],
    *,
    signals: Signals,
    seconds: float = LEASE_SECONDS,
    sleep: Callable[[float], object] = time.sleep,
) -> TrainedRun:
    """Drive a run, or wait for its result where somebody else drives it.

    Args:
        listeners: called with the events of somebody else's run, too.
        when_running: what to do then.
        drive: called under the lease.
        signals: those of this process, which ends its waiting; the run goes on.

    Raises:
        Preempted, KeyboardInterrupt: a signal has come.
        Held: somebody else drives the run, and that is to be refused.
        Lost: the lease was lost while this process drove.
    """
    seen = 0
    while True:
        try:
            with hold(folder.in_use_uri, seconds, late=True) as lease:
                return folder.trained() or drive(lease)
        except Held as held:
            if when_running == "refuse":
                raise
            if not seen:
                print(f"{folder.uri}: driven by {held.record}; waiting for its result", file=sys.stderr)
        events = folder.history.events()
        for event in events[seen:]:
            for listener in listeners:
                listener(event)
        seen = max(len(events), 1)
        sleep(POLL_SECONDS)
        signals.check(f"{folder.uri}: somebody else drives it, and goes on")
        if finished := folder.trained():
            return finished
