"""The progress of a run, shown to people: the events of `board` and counted images."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console as Terminal
from rich.progress import Progress

from pipelines.runtime.events import Event

PLAIN_INTERVAL = 15.0
"""Seconds between lines where stderr is not a terminal."""


class Console:
    """One live line on a terminal, a plain line now and then elsewhere."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.live = sys.stderr.isatty()
        self.last = 0.0

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if "text" in event:
            self._write(f"{self.title} · {event['text']}", keep=True)
        elif event["kind"] == "failure":
            self._write(f"{self.title} · rank {event['rank']} failed: {event['error']}", keep=True)
        elif event["kind"] == "evaluation":
            self._write(f"{self.title} · epoch {event['epoch']:.0f} · {describe_metrics(event)}", keep=True)
        elif event["kind"] == "step":
            ends = event["step"] == event["steps"]
            if self.live or time.monotonic() - self.last >= PLAIN_INTERVAL or ends:
                self.last = time.monotonic()
                self._write(f"{self.title} · {describe_step(event)}", keep=ends)

    def _write(self, line: str, *, keep: bool) -> None:
        if self.live:
            sys.stderr.write(f"\r\x1b[2K{line}" + ("\n" if keep else ""))
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


@contextmanager
def counted(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Count images on stderr: a bar on a terminal, a plain line now and then elsewhere. `total`: None where unknown."""
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
                sys.stderr.write(f"{title} · {done}{'' if total is None else f' of {total}'} images\n")

        yield advance


def describe_step(event: Event) -> str:
    """One step in one line: losses, learning rate, images per second, time left, and time since the last checkpoint."""
    losses = " ".join(f"{name} {event[name]:.3f}" for name in ("rpn", "box", "mask", "semantic"))
    left, unsaved = (timedelta(seconds=round(event[name])) for name in ("eta_s", "unsaved_s"))
    return (
        f"step {event['step']}/{event['steps']} · epoch {event['epoch']:.1f} · loss {event['loss']:.3f} ({losses}) · "
        f"lr {event['lr']:.2g} · {event['images_per_s']:.1f} img/s · {left} left · {unsaved} lost if killed now"
    )


def describe_metrics(metrics: dict[str, Any]) -> str:
    """The figures people compare, in one line."""
    shown = [f"{name} {metrics[name]:.1f}" for name in ("PQ", "PQ_th", "PQ_st", "AP", "mIoU") if name in metrics]
    return " · ".join(shown)
