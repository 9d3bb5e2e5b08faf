"""The figures of a training on their way to its MLflow run: every one arrives once, whatever happens in between.

A figure is a name and a step, and MLflow is asked which of them a run has before any is sent: when the delivery begins,
and after every failure, for a request whose answer was lost may have been obeyed. A request that MLflow's own client
repeats, or that a slow server obeys after it was given up, does not double anything either: a figure is sent with the
moment at which it was measured, so that both times it is the same row of MLflow's table, whose primary key is name,
moment, step, run, value.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlflow.entities import Metric, Run

from aunet.errors import InputError
from pipelines.store.history import FIGURES
from pipelines.tracking.address import shown_uri
from pipelines.tracking.database import REQUEST, answering, client
from pipelines.tracking.delivery import RETRY_SECONDS, Delivery

Event = Mapping[str, Any]
"""What happened in a run: `kind`, `step`, `at` (seconds since 1970) and figures."""
COUNTERS = ("step", "steps", "eta_s", "at")
"""Numbers of an event that are not figures."""
CLOSING_SECONDS = 30.0
"""How long the end of a training may wait for MLflow."""


class Tracker:
    """Figures of a training loop on their way to a run: never waits, never raises.

    They are few, at most two dozen every ten steps, so that all those of a long training, which wait while MLflow is
    away, are some megabytes. At the beginning the run is marked as RUNNING, for an earlier driver may have ended it.

    Args:
        history: what happened in the run before; figures of it that MLflow lacks are delivered too.
        retry_seconds: first and longest wait before what failed is tried again.
    """

    def __init__(
        self, run_id: str, history: Sequence[Event] = (), *, retry_seconds: tuple[float, float] = RETRY_SECONDS
    ) -> None:
        self._run = TrackedRun(run_id)
        self._delivery = Delivery[Event](self._receive, f"MLflow run {run_id}: figures", retry_seconds)
        for event in history:
            self.log_event(event)

    def log_event(self, event: Event) -> None:
        """Queue the figures of an event of the run; steps that were computed again are sent once."""
        if event["kind"] in FIGURES:
            self._delivery.put(event)

    def conclude(self, status: str | None, seconds: float = CLOSING_SECONDS) -> list[str]:
        """Deliver what is waiting and set the run's status, for at most `seconds`.

        Args:
            status: FINISHED, FAILED or KILLED; None: somebody else drives the run now.

        Returns:
            What is missing in MLflow now, and what delivers it: no line or one.
        """
        if self._delivery.close(lambda: self._run.set_status(status) if status else None, seconds) or status is None:
            return []
        reason = self._delivery.problem or f"no answer within {seconds:.0f} s"
        figures = f"the figures of {self._delivery.waiting} events and " if self._delivery.waiting else ""
        verb = "evaluate" if status == "FINISHED" else "train"
        return [
            f"MLflow run {self._run.run_id} lacks {figures}its status {status}: {reason}; the next `{verb}` of this "
            "training delivers them"
        ]

    def _receive(self, events: Sequence[Event]) -> None:
        self._run.set_status("RUNNING")
        self._run.deliver(events)


def catch_up(run_id: str, events: Sequence[Event], status: str) -> None:
    """Deliver the figures and the status that a run lacks; a second call sends nothing.

    Raises:
        InputError: there is no such run, or it was deleted.
        Unavailable: MLflow does not answer.
    """
    run = TrackedRun(run_id)
    run.deliver(events)
    run.set_status(status)


class TrackedRun:
    """A run in MLflow and what it has already; one thread uses it.

    All methods raise `InputError` where the run does not exist or was deleted, `Unavailable` where MLflow does not
    answer.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self._status: str | None = None
        self._arrived: set[tuple[str, int]] | None = None
        """Name and step of the figures that MLflow has; None: it has to be asked."""

    def deliver(self, events: Sequence[Event]) -> None:
        """Send the figures that MLflow lacks."""
        try:
            arrived = self._ask()
            lacking: dict[tuple[str, int], Metric] = {}
            for metric in (metric for event in events for metric in figures(event)):
                if (metric.key, metric.step) not in arrived:
                    lacking.setdefault((metric.key, metric.step), metric)  # the first, as in a request before
            _send(self.run_id, list(lacking.values()))
            arrived.update(lacking)
        except BaseException:
            self._arrived = None  # nobody knows what arrived
            raise

    def set_status(self, status: str) -> None:
        """RUNNING, or how it ended, now; nothing where it says so already."""
        self._ask()
        if status != self._status:
            _set_status(self.run_id, status)
            self._status = status

    def _ask(self) -> set[tuple[str, int]]:
        if self._arrived is None:
            run = _existing(self.run_id)
            self._status = run.info.status
            self._arrived = {(name, step) for name in run.data.metrics for step in _steps(self.run_id, name)}
        return self._arrived


def figures(event: Event) -> Iterator[Metric]:
    """The figures of an event, each with the moment at which it was measured."""
    if event["kind"] in FIGURES:
        at = round(1000 * event.get("at", time.time()))
        for name, value in event.items():
            if isinstance(value, float | int) and name not in COUNTERS:
                yield Metric(name, float(value), at, event["step"])


@answering()
def _existing(run_id: str) -> Run:
    run = client().get_run(run_id)
    if run.info.lifecycle_stage != "active":
        raise InputError(f"it was deleted at {shown_uri()}")
    return run


@answering()
def _steps(run_id: str, name: str) -> list[int]:
    return [metric.step for metric in client().get_metric_history(run_id, name)]


@answering()
def _send(run_id: str, metrics: Sequence[Metric]) -> None:
    for start in range(0, len(metrics), REQUEST):
        client().log_batch(run_id, metrics=metrics[start : start + REQUEST])


@answering()
def _set_status(run_id: str, status: str) -> None:
    if status == "RUNNING":
        client().update_run(run_id, status)
    else:
        client().set_terminated(run_id, status)
