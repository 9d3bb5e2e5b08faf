"""The progress of a run: workers post events on a board, where the driver reads them to show them.

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

from rich.console import Console as Terminal
from rich.progress import Progress

Event = dict[str, Any]
PLAIN_INTERVAL = 15.0
"""Seconds between lines where stderr is not a terminal."""


class Stopped(RuntimeError):
    """A run was ended early by whoever watched it; its checkpoints are kept."""


class Board:
    """Events of one run, kept in an actor so that workers on any node reach it, and the answers to its evaluations."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.answers: dict[int, bool] = {}

    def post(self, event: Event) -> None:
        self.events.append(event)

    def since(self, count: int) -> list[Event]:
        """The events after the first `count`."""
        return self.events[count:]

    def answer(self, step: int, stop: bool) -> None:
        self.answers[step] = stop

    def answer_to(self, step: int) -> bool | None:
        """Whether the run must end after the evaluation at that step; None: not answered yet."""
        return self.answers.get(step)

    def stopped(self) -> bool:
        """Whether any answer ends the run."""
        return any(self.answers.values())


@contextmanager
def watched_board(
    listeners: list[Callable[[Event], None]], stop: Callable[[Event], bool] | None = None
) -> Iterator[Any]:
    """A board whose events reach every listener, in order, from a thread of this process.

    It runs on this process's node, so that it survives the loss of a worker's.

    Args:
        stop: called after every evaluation; whether the run must end there.
    """
    import ray  # counting images needs no Ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here: Any = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    board: Any = ray.remote(num_cpus=0, scheduling_strategy=here)(Board).remote()
    done, seen = threading.Event(), 0

    def read() -> None:
        nonlocal seen
        for event in ray.get(board.since.remote(seen)):
            seen += 1
            for listener in listeners:
                listener(event)
            if stop is not None and event["kind"] == "evaluation":
                ray.get(board.answer.remote(event["step"], stop(event)))

    def watch() -> None:
        try:
            while not done.wait(0.5):
                read()
        except Exception:
            if stop is not None:
                ray.kill(board)  # or the workers would wait for an answer for ever
            raise

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


@contextmanager
def counted(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Count images on stderr: a bar on a terminal, a plain line now and then elsewhere."""
    terminal = Terminal(stderr=True)
    with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        bar = progress.add_task(title, total=total)
        done, last = 0, time.monotonic()

        def advance(images: int) -> None:
            nonlocal done, last
            done += images
            progress.advance(bar, images)
            if not terminal.is_terminal and time.monotonic() - last >= PLAIN_INTERVAL:
                last = time.monotonic()
                sys.stderr.write(f"{title} · {done} of {total} images\n")

        yield advance


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
