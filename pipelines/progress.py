"""What a run says while it goes on: workers post events on a board, the driver reads them and shows them.

An event is a dict of plain values: `kind` ("step" or "evaluation"), `step`, `steps`, `epoch` and the figures; or, when
a worker raises, `kind` "failure", `rank` and `error`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

Event = dict[str, Any]
PLAIN_INTERVAL = 15.0
"""Seconds between lines where stderr is no terminal."""


class Board:
    """Events of one run, kept in an actor so that workers on any node reach it."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def post(self, event: Event) -> None:
        self.events.append(event)

    def since(self, count: int) -> list[Event]:
        """The events after the first `count`."""
        return self.events[count:]


@contextmanager
def watched_board(listeners: list[Callable[[Event], None]]) -> Iterator[Any]:
    """A board whose events reach every listener, in order, from a thread of this process."""
    import ray

    board: Any = ray.remote(num_cpus=0)(Board).remote()
    done, seen = threading.Event(), 0

    def read() -> None:
        nonlocal seen
        for event in ray.get(board.since.remote(seen)):
            seen += 1
            for listener in listeners:
                listener(event)

    def watch() -> None:
        while not done.wait(0.5):
            read()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield board
    finally:
        done.set()
        thread.join()
        read()
        ray.kill(board)


class Console:
    """One live line on a terminal, a plain line now and then elsewhere."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.live = sys.stderr.isatty()
        self.last = 0.0

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if event["kind"] == "failure":
            self._write(f"{self.title} · rank {event['rank']} failed: {event['error']}", keep=True)
        elif event["kind"] == "evaluation":
            self._write(f"{self.title} · epoch {event['epoch']:.0f} · {describe_metrics(event)}", keep=True)
        elif self.live or time.monotonic() - self.last >= PLAIN_INTERVAL or event["step"] == event["steps"]:
            self.last = time.monotonic()
            self._write(f"{self.title} · {describe_step(event)}", keep=event["step"] == event["steps"])

    def _write(self, line: str, *, keep: bool) -> None:
        if self.live:
            sys.stderr.write(f"\r\x1b[2K{line}" + ("\n" if keep else ""))
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def describe_step(event: Event) -> str:
    """One step in one line: losses, learning rate, images per second, time left."""
    losses = " ".join(f"{name} {event[name]:.3f}" for name in ("rpn", "box", "mask", "semantic"))
    left = timedelta(seconds=round(event["eta_s"]))
    return (
        f"step {event['step']}/{event['steps']} · epoch {event['epoch']:.1f} · loss {event['loss']:.3f} ({losses}) · "
        f"lr {event['lr']:.2g} · {event['images_per_s']:.1f} img/s · {left} left"
    )


def describe_metrics(metrics: dict[str, Any]) -> str:
    """The figures people compare, in one line."""
    shown = [f"{name} {metrics[name]:.1f}" for name in ("PQ", "PQ_th", "PQ_st", "AP", "mIoU") if name in metrics]
    return " · ".join(shown)
