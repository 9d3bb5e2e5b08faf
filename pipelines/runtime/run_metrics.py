"""The figures of a run for Prometheus, exported by Ray with everything else that its nodes measure.

Ray puts `ray_` before each name, and `WorkerId`, `SessionName` and the like beside the tags.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.util.metrics import Gauge

from pipelines.runtime.events import Event

TAGS = ("configuration", "run")
"""Of every metric: the name of the configuration, and the run's id."""
GAUGES = {
    "aunet_step": "Steps finished.",
    "aunet_steps": "Steps of the whole run.",
    "aunet_epoch": "Epochs finished.",
    "aunet_loss": "Weighted sum of the losses of the newest step that was looked at.",
    "aunet_loss_rpn": "Loss of the RPN.",
    "aunet_loss_box": "Loss of the box head.",
    "aunet_loss_mask": "Loss of the mask head.",
    "aunet_loss_semantic": "Loss of the semantic head.",
    "aunet_learning_rate": "Learning rate.",
    "aunet_images_per_second": "Images per second over all workers, since this attempt began.",
    "aunet_input_wait_ratio": "Share of the time that rank 0 waited for batches.",
    "aunet_memory_gigabytes": "The most memory that rank 0 has held, of its GPU where it computes on one.",
    "aunet_remaining_seconds": "Seconds that the rest takes at the present rate.",
    "aunet_unsaved_seconds": "Seconds of work that would be lost if the run were killed now.",
    "aunet_goodput_ratio": "Share of the time since the first start that went into steps that count.",
    "aunet_pq": "PQ of the newest evaluation, in per cent.",
    "aunet_pq_things": "PQ of things, in per cent.",
    "aunet_pq_stuff": "PQ of stuff, in per cent.",
    "aunet_checkpoint_seconds": "Seconds that the newest checkpoint took to be stored.",
    "aunet_attempts": "Times that the workers were started.",
    "aunet_failures": "Times that a worker failed.",
    "aunet_event_timestamp_seconds": "When anything was last heard of the run, in seconds since 1970.",
    "aunet_finished": "1 when the run has ended by itself or was ended, else 0.",
}
"""What each metric of a run means, by its name without Ray's `ray_`."""
TICK_HELD = "aunet_tick_held"
"""1 where the newest tick of a configuration has trained a model that the gate held, else 0."""
_FIGURES = {
    "step": {
        "loss": "aunet_loss",
        "rpn": "aunet_loss_rpn",
        "box": "aunet_loss_box",
        "mask": "aunet_loss_mask",
        "semantic": "aunet_loss_semantic",
        "lr": "aunet_learning_rate",
        "images_per_s": "aunet_images_per_second",
        "input_wait": "aunet_input_wait_ratio",
        "memory_gb": "aunet_memory_gigabytes",
        "eta_s": "aunet_remaining_seconds",
        "unsaved_s": "aunet_unsaved_seconds",
        "step": "aunet_step",
        "steps": "aunet_steps",
        "epoch": "aunet_epoch",
    },
    "evaluation": {"PQ": "aunet_pq", "PQ_th": "aunet_pq_things", "PQ_st": "aunet_pq_stuff"},
    "checkpoint": {"seconds": "aunet_checkpoint_seconds"},
}
"""Kind of an event → its figures → metrics."""


class RunMetrics:
    """Listens to the events of a run. Whatever goes wrong with metrics, the run does not notice.

    Args:
        goodput: of the run so far; None: no step was timed.
        gauge: makes a gauge of a name, a description and its tags' names.
    """

    def __init__(
        self,
        configuration: str,
        run: str,
        goodput: Callable[[], float | None] = lambda: None,
        *,
        gauge: Callable[..., Any] = Gauge,
    ) -> None:
        self.tags = dict(zip(TAGS, (configuration, run), strict=True))
        self.goodput, self.num_attempts, self.num_failures = goodput, 0, 0
        self._make, self._gauges = gauge, {}

    def __call__(self, event: Event) -> None:
        """Export the figures of an event."""
        try:
            for name, value in self._values(event).items():
                self._set(name, value)
        except Exception:  # noqa: BLE001 - the training does not depend on it
            return

    def _values(self, event: Event) -> dict[str, float]:
        kind = event["kind"]
        figures = _FIGURES.get(kind, {})
        values = {metric: float(event[name]) for name, metric in figures.items() if event.get(name) is not None}
        self.num_attempts += kind in ("start", "restart")
        self.num_failures += kind == "failure"
        values["aunet_attempts"], values["aunet_failures"] = float(self.num_attempts), float(self.num_failures)
        values["aunet_event_timestamp_seconds"] = float(event["at"])
        values["aunet_finished"] = float(kind == "end")
        if kind == "step" and (goodput := self.goodput()) is not None:
            values["aunet_goodput_ratio"] = goodput
        return values

    def _set(self, name: str, value: float) -> None:
        if name not in self._gauges:
            self._gauges[name] = self._make(name, description=GAUGES[name], tag_keys=TAGS)
        self._gauges[name].set(value, tags=self.tags)


def tick_ended(configuration: str, *, held: bool, gauge: Callable[..., Any] = Gauge) -> None:
    """Export how a tick ended. Prometheus sees it where the cluster lives until it looks: `cluster.keep_hours`."""
    try:
        description = "1 where the newest tick has trained a model that the gate held."
        gauge(TICK_HELD, description=description, tag_keys=TAGS[:1]).set(float(held), tags={TAGS[0]: configuration})
    except Exception:  # noqa: BLE001 - the tick does not depend on it
        return
